"""From an image to the pixels that a model was trained on: size, crop and normalisation, read from its own files."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from cuetune.backbones import image_processors
from cuetune.errors import CuetuneError

BILINEAR = 2  # Pillow's number
WHOLE = 384  # pixels from which on ConvNeXt's processor cuts nothing off


@dataclass(frozen=True)
class Preprocessing:
    """What a model's image processor does, in two steps: to bytes, which can be kept, and to normalised numbers.

    size: (H, W) of the result. resize: the length that an image's shorter side is brought to, or the (height, width)
    that it is stretched to; the middle of that is cut out. None stretches it to `size`. resample: Pillow's number of
    the filter. scale: what a byte is multiplied by. mean, std: of each channel, taken off and divided by after that.
    asked: a processor of transformers as text, which makes the bytes where these steps are not its own; else empty.
    """

    size: tuple[int, int]
    resize: int | tuple[int, int] | None = None
    resample: int = BILINEAR
    scale: float = 1 / 255
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    std: tuple[float, ...] = (0.5, 0.5, 0.5)
    asked: str = ""

    @classmethod
    def from_config(cls, config: Mapping[str, Any], where: str, model_type: str = "") -> Self:
        """As `preprocessor_config.json` says; what it leaves out is the processor's own default.

        where: the model. model_type: names the processor where the file does not. Its pixels are compared with those
        of transformers' processor on noise. Raises CuetuneError for a processor whose pixels no model here can take.
        """
        processor = image_processors.instantiated(config, model_type, where)
        try:
            for make in (cls._by_steps, cls._by_asking):
                made = make(processor)
                if made is not None and made._agrees(processor):
                    return made
            reason = "makes other pixels than can be kept as bytes"
        except image_processors.UNTRUE as error:
            reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        kind = image_processors.settings_of(processor)["image_processor_type"]
        raise CuetuneError(f"{where}: its images are prepared by {kind}, which {reason}; take another model.")

    @classmethod
    def _by_steps(cls, processor: Any) -> Self | None:
        """The processor's settings as the steps of this class; None where they name no size."""
        config = image_processors.settings_of(processor)
        crop = _pair(config.get("crop_size")) if config.get("do_center_crop") else None
        resize = _resize(config)
        size = crop or _shown(config) or (resize if isinstance(resize, tuple) else None)
        if size is None:
            return None
        plain = not config.get("do_normalize")
        mean = (0.0,) * 3 if plain else _triple(config["image_mean"])
        std = (1.0,) * 3 if plain else _triple(config["image_std"])
        if config.get("rescale_offset") or config.get("offset"):  # to numbers from -1 on
            mean = tuple(1 + each for each in mean)
        if config.get("include_top"):  # EfficientNet's processor divides by the deviation once more
            std = tuple(each * again for each, again in zip(std, _triple(config["image_std"]), strict=True))
        resample = config.get("resample")
        return cls(
            size=size,
            resize=None if resize == size else resize,
            resample=BILINEAR if resample is None else int(resample),
            scale=float(config["rescale_factor"]) if config.get("do_rescale") else 1.0,
            mean=mean,
            std=std,
        )

    @classmethod
    def _by_asking(cls, processor: Any) -> Self:
        """The processor itself makes the bytes of every image."""
        size, mean, std = image_processors.asked_range(processor)
        return cls(size=size, mean=mean, std=std, asked=image_processors.described(processor))

    def _agrees(self, processor: Any) -> bool:
        """Whether pixels of noise are the processor's own."""
        for image in image_processors.noise():
            theirs = image_processors.pixels_of(processor, image)
            if not np.isfinite(theirs).all():
                raise ValueError("makes numbers that are not finite")
            if theirs.shape != self.shape:
                if self.asked:
                    raise ValueError("makes images of different sizes")
                return False
            ours = self.normalised(self.bytes_of(image)[None])[0].numpy()
            if not np.allclose(ours, theirs, rtol=1e-4, atol=1e-4):
                return False
        return True

    def sized(self, side: int) -> Self:
        """The same to images of (side, side): what is cut out of an image stays, in fewer or more pixels.

        Raises CuetuneError for a processor that is asked for every image: it knows one size.
        """
        if self.asked:
            kind = json.loads(self.asked)["image_processor_type"]
            raise CuetuneError(f"@{side}: {kind} prepares images of {self.size[0]} x {self.size[1]} pixels alone.")
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
        """(3, H, W) uint8 of a Pillow image in RGB: resized and cut, not yet normalised."""
        if self.asked:
            return torch.from_numpy(image_processors.asked_bytes(self.asked, picture))
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
        said = {name: value for name, value in asdict(self).items() if name != "asked" or value}
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def _resize(config: Mapping[str, Any]) -> int | tuple[int, int] | None:
    """The length of the shorter side, or (H, W), of a processor's settings; None where they say neither."""
    if not config.get("do_resize"):
        return None
    if shown := _shown(config):
        return int(shown[0] / config["crop_pct"]) if shown[0] < WHOLE else shown
    size = config.get("size")
    if isinstance(size, Mapping) and size.get("shortest_edge"):
        return int(size["shortest_edge"])
    return _pair(size)


def _shown(config: Mapping[str, Any]) -> tuple[int, int] | None:
    """(H, W) that ConvNeXt's processor, which ResNet and RegNet share, leaves of an image; None to other processors.

    Below 384 it is the middle of a larger one.
    """
    size = config.get("size")
    if not str(config["image_processor_type"]).startswith("ConvNext") or not size:
        return None
    side = int(size.get("shortest_edge") or size["height"])
    return side, side


def _triple(value: Any) -> tuple[float, ...]:
    """A number for each channel."""
    return tuple(map(float, value)) if isinstance(value, list | tuple) else (float(value),) * 3


def _pair(value: Any) -> tuple[int, int] | None:
    """(H, W) of a mapping."""
    if isinstance(value, Mapping) and value.get("height") and value.get("width"):
        return int(value["height"]), int(value["width"])
    return None


def _shortened(picture: Any, length: int) -> tuple[int, int]:
    """(width, height) of the image with its shorter side at `length`, its shape kept."""
    width, height = picture.size
    if width <= height:
        return length, max(length, int(length * height / width))
    return max(length, int(length * width / height)), length
