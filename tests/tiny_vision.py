"""Tiny random vision transformers and images: the mathematics of images is tested on these, without a download."""

import io
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import (
    CLIPVisionConfig,
    CLIPVisionModel,
    DeiTConfig,
    DeiTModel,
    Dinov2Config,
    Dinov2Model,
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersModel,
    DINOv3ViTConfig,
    DINOv3ViTModel,
    IJepaConfig,
    IJepaModel,
    SiglipVisionConfig,
    SiglipVisionModel,
    ViTConfig,
    ViTForImageClassification,
    ViTModel,
)

from cuetune.backbones.image import ImageBackbone
from cuetune.backbones.preprocessing import Preprocessing

# Family -> states before the patches.
FIRST = {"vit": 1, "classes": 1, "deit": 2, "dinov2": 1, "registers": 5, "dinov3": 1, "clip": 1, "ijepa": 0}
FIRST |= {"siglip": 0}  # hands nothing on to its layers
SIDE, PATCH, WIDTH, LAYERS, HEADS = 24, 8, 32, 3, 4
PATCHES = (SIDE // PATCH) ** 2
PREPARED = Preprocessing((SIDE, SIDE))


def vision_model(family: str, seed: int = 0) -> Any:
    """A random model; DINOv2's was built for larger images, so that its positions are interpolated."""
    torch.manual_seed(seed)
    common: dict[str, Any] = {"hidden_size": WIDTH, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS}
    common |= {"image_size": SIDE, "patch_size": PATCH, "initializer_range": 0.3}
    wide = {**common, "intermediate_size": 64}
    large = {**common, "image_size": 2 * SIDE, "mlp_ratio": 2}
    clip = {key: value for key, value in wide.items() if key != "initializer_range"}
    labels = {"id2label": {0: "cat", 1: "dog", 2: "cow", 3: "car", 4: "cup"}}
    made = {
        "vit": lambda: ViTModel(ViTConfig(**wide)),
        "classes": lambda: ViTForImageClassification(ViTConfig(**wide, **labels)),
        "deit": lambda: DeiTModel(DeiTConfig(**wide)),
        "dinov2": lambda: Dinov2Model(Dinov2Config(**large)),
        "registers": lambda: Dinov2WithRegistersModel(Dinov2WithRegistersConfig(**large)),
        "dinov3": lambda: DINOv3ViTModel(DINOv3ViTConfig(**wide)),
        "clip": lambda: CLIPVisionModel(CLIPVisionConfig(**clip, initializer_factor=5.0)),
        "siglip": lambda: SiglipVisionModel(SiglipVisionConfig(**wide)),
        "ijepa": lambda: IJepaModel(IJepaConfig(**wide)),
    }
    model = made[family]().eval()
    for parameter in model.parameters():  # biases, norms and tokens are not at their neutral start
        if parameter.dim() == 1 or parameter.shape[0] == 1:
            parameter.data += 0.1 * torch.randn(parameter.shape)
    return model


@cache
def image_backbone(family: str = "vit") -> ImageBackbone:
    """The wrapped tiny model; shared by tests, which must not change it."""
    return ImageBackbone(vision_model(family), PREPARED, f"tiny-{family}")


@cache
def bare(family: str) -> Any:
    """The same weights, never wrapped."""
    return vision_model(family)


def pixels(count: int = 3, seed: int = 0) -> torch.Tensor:
    """Normalised pixels (B, 3, H, W) of no image in particular."""
    return torch.randn(count, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))


def picture(colour: str = "red", size: tuple[int, int] = (40, 30), mode: str = "RGB") -> Image.Image:
    """An image of one colour with a darker corner."""
    made = Image.new("RGB", size, colour)
    made.paste((0, 0, 0), (0, 0, size[0] // 4, size[1] // 4))
    return made.convert(mode)


def dark_and_light(folder: Path, count: int) -> Path:
    """A folder with two classes of noise, "dark" and "light", so many images of each."""
    draw = np.random.default_rng(0)
    for label, low in (("dark", 0), ("light", 120)):
        (folder / label).mkdir(parents=True)
        for number in range(count):
            noise = draw.integers(low, low + 120, (SIDE, SIDE, 3), dtype=np.uint8)
            Image.fromarray(noise).save(folder / label / f"{number}.png")
    return folder


def png(image: Image.Image, **options: Any) -> bytes:
    """The image as a PNG file."""
    stream = io.BytesIO()
    image.save(stream, "PNG", **options)
    return stream.getvalue()
