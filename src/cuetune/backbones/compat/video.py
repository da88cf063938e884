"""All of video models that depends on the version of transformers, beside `compat`. Tested with transformers 5.x."""

from typing import Any

import torch
from torch import Tensor
from transformers import AutoModel, PreTrainedModel
from transformers.models.videomae.modeling_videomae import VideoMAEEncoder, VideoMAESelfAttention

from cuetune.backbones.compat import text as compat
from cuetune.backbones.compat.handed import HANDED_ON, handed, running_layout
from cuetune.backbones.whole_weights import load_whole

TUBES = ("videomae", "vivit")  # families whose states stand for tubes: patches over several frames


def load_tubes(source: str, **options: Any) -> PreTrainedModel:
    """What sees of the model in a folder or of the hub: without the classes or the decoder of its pre-training."""
    return load_whole(AutoModel, source, **options)


class _Encoder(VideoMAEEncoder):
    def forward(self, hidden_states: Tensor, **kwargs: Any) -> Any:
        return super().forward(hidden_states, **{**kwargs, "cuetune_layout": running_layout()})


class _SelfAttention(VideoMAESelfAttention):
    @torch.compiler.disable  # the layout's bookkeeping is Python
    def forward(self, hidden_states: Tensor, cuetune_layout: Any = None) -> tuple[Tensor, Tensor]:
        with handed(cuetune_layout):  # also where a checkpointed layer runs again, when the pass is over
            return super().forward(hidden_states)


def hand_on(model: PreTrainedModel) -> None:
    """Let a VideoMAE tell its layers and their attention of the pass they are in.

    Modules change their class, and not their `forward`, so that copies of the model are whole.
    """
    if model.config.model_type != "videomae":  # the others hand on what they are given
        compat.use_attention(model)
        return
    own: dict[type, type] = {VideoMAEEncoder: _Encoder, VideoMAESelfAttention: _SelfAttention}
    for module in model.modules():
        module.__class__ = own.get(type(module), type(module))
    model.set_attn_implementation(HANDED_ON)


def clip_size(config: Any) -> tuple[int, int, int]:
    """(T, H, W) of the videos that a model over tubes takes; its positions are fixed."""
    side = config.image_size
    height, width = side if isinstance(side, list | tuple) else (side, side)
    return int(config.num_frames), int(height), int(width)


def tube_length(config: Any) -> int:
    """How many frames a tube is long."""
    size = config.tubelet_size
    return int(size[0] if isinstance(size, list | tuple) else size)
