"""From a picture to the pixels that a model was trained on: size, crop and normalisation, read from its own files."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from cuetune.errors import CuetuneError

BILINEAR = 2  # Pillow's number
WHOLE = 384  # pixels from which on ConvNeXt's processor cuts nothing off


@dataclass(frozen=True)
class Preprocessing:
    """What a model's image processor does, in two steps: to bytes, which can be kept, and to normalised numbers.

    size: (H, W) of the result. resize: the length that a picture's shorter side is brought to, or the (height, width)
    that it is stretched to; the middle of that is cut out. None stretches it to `size`. resample: Pillow's number of
    the filter. scale: what a byte is multiplied by. mean, std: of each channel, taken off and divided by after that.
    """

    size: tuple[int, int]
    resize: int | tuple[int, int] | None = None
    resample: int = BILINEAR
    scale: float = 1 / 255
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    std: tuple[float, ...] = (0.5, 0.5, 0.5)

    @classmethod
    def from_config(cls, config: Mapping[str, Any], where: str) -> "Preprocessing":
        """As `preprocessor_config.json` says. where: the model. Raises CuetuneError where sizes are missing."""
        crop = _pair(config.get("crop_size")) if config.get("do_center_crop", "crop_size" in config) else None
        resize = _resize(config, crop is not None)
        size = crop or _shown(config) or (resize if isinstance(resize, tuple) else (resize, resize) if resize else None)
        if size is None:
            raise CuetuneError(f"{where}: preprocessor_config.json names no size of the pictures; add a `size`.")
        plain = not config.get("do_normalize", True)
        mean = (0.0,) * 3 if plain else tuple(config.get("image_mean") or cls.mean)
        std = (1.0,) * 3 if plain else tuple(config.get("image_std") or cls.std)
        if config.get("rescale_offset"):  # to numbers from -1 on
            mean = tuple(1 + each for each in mean)
        if config.get("include_top"):  # EfficientNet's processor divides by the deviation once more
            std = tuple(each * again for each, again in zip(std, config["image_std"], strict=True))
        return cls(
            size=size,
            resize=None if resize == size else resize,
            resample=int(config.get("resample") or BILINEAR),
            scale=float(config.get("rescale_factor", 1 / 255)) if config.get("do_rescale", True) else 1.0,
            mean=mean,
            std=std,
        )

    def sized(self, side: int) -> Self:
        """The same to pictures of (side, side): what is cut out of a picture stays, in fewer or more pixels."""
        resize = self.resize
        if isinstance(resize, int):
            resize = round(resize * side / min(self.size))
        elif resize is not None:
            height, width = (round(own * side / old) for own, old in zip(resize, self.size, strict=True))
            resize = (height, width)
        return replace(self, size=(side, side), resize=resize)

    @property
    def shape(self) -> tuple[int, ...]:
        """(3, H, W) of what one row becomes."""
        return (3, *self.size)

    def bytes_of(self, picture: Any) -> Tensor:
        """(3, H, W) uint8 of a Pillow picture in RGB: resized and cut, not yet normalised."""
        (height, width), resize = self.size, self.resize or self.size
        shape = _shortened(picture, resize) if isinstance(resize, int) else (resize[1], resize[0])
        picture = picture.resize(shape, self.resample)
        left, top = (picture.width - width) // 2, (picture.height - height) // 2
        picture = picture.crop((left, top, left + width, top + height))
        return torch.from_numpy(np.array(picture, dtype=np.uint8)).permute(2, 0, 1).contiguous()

    def normalised(self, pixels: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """Bytes (B, 3, H, W) as the model takes them, computed in float32."""
        mean, std = (torch.tensor(part, device=pixels.device).view(3, 1, 1) for part in (self.mean, self.std))
        return ((pixels.float() * self.scale - mean) / std).to(dtype)

    @property
    def hash(self) -> str:
        """SHA-256 of all of it: a prompt found under one preprocessing does not belong to another."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


def _resize(config: Mapping[str, Any], cropped: bool) -> int | tuple[int, int] | None:
    """The length of the shorter side, or (H, W), of any form that image processors write it in; None where unsaid.

    One number alone is a square where nothing is cut out of it. Where something is, it is the shorter side, except to
    the processors of DeiT and BEiT.
    """
    value = config.get("size") if config.get("do_resize", True) else None
    if shown := _shown(config):
        return int(shown[0] / config.get("crop_pct", 224 / 256)) if shown[0] < WHOLE else shown
    if isinstance(value, Mapping) and value.get("shortest_edge"):
        return int(value["shortest_edge"])
    kind = _kind(config)
    if isinstance(value, int) and cropped and not kind.startswith(("DeiT", "Beit")):
        return value
    return _pair(value)


def _shown(config: Mapping[str, Any]) -> tuple[int, int] | None:
    """(H, W) that ConvNeXt's processor, which ResNet and RegNet share, leaves of a picture; None to other processors.

    Below 384 it is the middle of a larger one.
    """
    size = config.get("size")
    if not _kind(config).startswith("ConvNext") or not size:
        return None
    side = int(size["shortest_edge"] if isinstance(size, Mapping) else size)
    return side, side


def _kind(config: Mapping[str, Any]) -> str:
    return str(config.get("image_processor_type") or config.get("feature_extractor_type"))


def _pair(value: Any) -> tuple[int, int] | None:
    """(H, W) of a mapping, a pair or one number."""
    if isinstance(value, Mapping):
        return (int(value["height"]), int(value["width"])) if value.get("height") and value.get("width") else None
    if isinstance(value, list | tuple) and len(value) == 2:
        return int(value[0]), int(value[1])
    return (int(value), int(value)) if value else None


def _shortened(picture: Any, length: int) -> tuple[int, int]:
    """(width, height) of the picture with its shorter side at `length`, its shape kept."""
    width, height = picture.size
    if width <= height:
        return length, max(length, int(length * height / width))
    return max(length, int(length * width / height)), length
