"""Every prompt for clips by name: those for pictures, which all frames share, and one that knows the frames apart."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from cuetune.backbones.video import FramesBackbone, TubesBackbone
from cuetune.errors import CuetuneError
from cuetune.prompts.base import Prompt
from cuetune.prompts.building import Method, build_from
from cuetune.prompts.temporal import TemporalPrompt
from cuetune.prompts.visual_building import IMAGE_METHODS, SEEN, ImageStart, _check_layer
from cuetune.tasks.decoding import decode
from cuetune.tasks.task import Example, Task


def temporal(start: ImageStart, own: int = 4, layer: int = 0) -> Prompt:
    _check_layer(start, layer)
    frozen = start.backbone
    if not isinstance(frozen, FramesBackbone):
        raise CuetuneError(
            f"--prompt temporal gives each frame virtual tokens of its own, but {frozen.identity.name} sees all frames "
            "at once; choose --prompt vpt."
        )
    if own < 1:
        raise CuetuneError("--prompt-option own: each frame has 1 virtual token of its own or more.")
    layers = start.depth - layer
    return TemporalPrompt.begin(layers, start.length, own, frozen.frames, frozen.width, frozen.patch, layer, start.seed)


VIDEO_METHODS = {
    "temporal": Method("virtual tokens before every layer, some of them each frame's own", temporal, "head"),
    **IMAGE_METHODS,
}


def start_from(
    backbone: FramesBackbone | TubesBackbone,
    task: Task,
    examples: Sequence[Example],
    length: int,
    seed: int = 0,
    reads: int | None = None,
) -> ImageStart:
    """What a prompt begins from where these examples are tuned on; their frames where each is seen alone."""
    pixels = torch.cat([part for _, part, _ in decode(examples[:SEEN], task, backbone.preprocessing)])
    pixels = pixels.flatten(0, 1) if isinstance(backbone, FramesBackbone) else pixels
    return ImageStart(backbone, length, seed, backbone.normalised(pixels), reads)


def build_for_clips(method: str, start: ImageStart, options: Mapping[str, Any]) -> Prompt:
    """The first state of a prompt by its method's name. Raises CuetuneError for an unknown name or option."""
    return build_from(VIDEO_METHODS, "clips", method, start, options)
