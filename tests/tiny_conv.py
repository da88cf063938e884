"""Tiny random convolutional networks: prompts in pixels are tested on these, without a download."""

from functools import cache
from typing import Any

import torch
from torch import nn
from transformers import (
    ConvNextConfig,
    ConvNextModel,
    ConvNextV2Config,
    ConvNextV2ForImageClassification,
    EfficientNetConfig,
    EfficientNetForImageClassification,
    MobileNetV1Config,
    MobileNetV1Model,
    MobileNetV2Config,
    MobileNetV2ForImageClassification,
    RegNetConfig,
    RegNetModel,
    ResNetConfig,
    ResNetForImageClassification,
)

from cuetune.backbones.conv import ConvBackbone
from cuetune.backbones.preprocessing import Preprocessing

SIDE = 32
PREPARED = Preprocessing((SIDE, SIDE))
# Family -> size of the pooled feature, classes of its own.
FAMILIES = {
    "resnet": (16, 3),
    "regnet": (16, 0),
    "convnext": (16, 0),
    "convnextv2": (16, 3),
    "efficientnet": (320, 3),
    "mobilenet_v1": (256, 0),
    "mobilenet_v2": (1280, 3),
}


def conv_model(family: str, seed: int = 0) -> Any:
    """A random model whose batch norms have statistics of their own, as after training."""
    torch.manual_seed(seed)
    labels = {"id2label": {0: "cat", 1: "dog", 2: "cow"}}
    stages: dict[str, Any] = {"hidden_sizes": [8, 16], "depths": [1, 1]}
    small: dict[str, Any] = {"embedding_size": 8, "layer_type": "basic"}
    blocks: dict[str, Any] = {
        "in_channels": [32, 16],
        "out_channels": [16, 24],
        "kernel_sizes": [3, 5],
        "strides": [1, 2],
        "num_block_repeats": [1, 2],
        "expand_ratios": [1, 2],
        "depthwise_padding": [],
        "width_coefficient": 0.25,
        "depth_coefficient": 1.0,
        "hidden_dim": 320,
    }
    made = {
        "resnet": lambda: ResNetForImageClassification(ResNetConfig(**stages, **small, **labels)),
        "regnet": lambda: RegNetModel(RegNetConfig(**stages, embedding_size=8, groups_width=8, layer_type="x")),
        "convnext": lambda: ConvNextModel(ConvNextConfig(**stages, num_stages=2)),
        "convnextv2": lambda: ConvNextV2ForImageClassification(ConvNextV2Config(**stages, num_stages=2, **labels)),
        "efficientnet": lambda: EfficientNetForImageClassification(EfficientNetConfig(**blocks, **labels)),
        "mobilenet_v1": lambda: MobileNetV1Model(MobileNetV1Config(depth_multiplier=0.25)),
        "mobilenet_v2": lambda: MobileNetV2ForImageClassification(MobileNetV2Config(depth_multiplier=0.25, **labels)),
    }
    model = made[family]().eval()
    for parameter in model.parameters():  # no norm, bias or scale is at its neutral start, and signals do not vanish
        if parameter.dim() == 1:
            parameter.data += 0.2 * torch.randn(parameter.shape)
        elif parameter.dim() == 4:
            nn.init.kaiming_normal_(parameter)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data.uniform_(0.7, 1.3)
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return model


@cache
def conv_backbone(family: str = "resnet") -> ConvBackbone:
    """The wrapped tiny model; shared by tests, which must not change it."""
    return ConvBackbone(conv_model(family), PREPARED, f"tiny-{family}")


def pixels(count: int = 3, seed: int = 0) -> torch.Tensor:
    """Normalised pixels (B, 3, H, W) of no image in particular."""
    return torch.randn(count, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))
