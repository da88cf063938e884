"""The image processors of transformers, as oracles: one is instantiated by name, and asked what it does to images.

No model's preprocessing is taken on trust: what cuetune computes itself is compared with the processor's own pixels,
and a processor that does something else is called for every image.
"""

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from cuetune.errors import CuetuneError

PLAIN = "ViTImageProcessor"  # where neither the file nor the model's type names one
NAMES = ("image_processor_type", "feature_extractor_type")
UNTRUE = (ValueError, TypeError, LookupError, AttributeError, ImportError, RuntimeError, OSError, AssertionError)
# Processors that only torchvision runs: another one that takes the same steps, and what its defaults differ in.
STAND_INS: dict[str, tuple[str, dict[str, Any]]] = {
    "DINOv3ViTImageProcessor": (PLAIN, {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]})
}
LARGEST_SIDE = 8192  # pixels; the largest images that models take are an eighth of it
NOISE = ((40, 56), (300, 260))  # (H, W): smaller and larger than most models' images, upright and not


def instantiated(config: Mapping[str, Any], model_type: str, where: str) -> Any:
    """The processor that `preprocessor_config.json` describes; what it leaves out is the processor's own default.

    model_type: decides where the file names no processor that transformers knows. where: the model, for errors.
    Raises CuetuneError for one that needs a library that is missing, or settings that it refuses.
    """
    for setting in ("size", "crop_size"):
        check_side(config.get(setting), setting, where)
    name = _name(config, model_type)
    kind, defaults = STAND_INS.get(name, (name, {}))
    settings = {key: value for key, value in config.items() if key not in NAMES}
    try:
        return _class(kind).from_dict({**defaults, **settings})
    except ImportError as error:
        library = next((each for each in ("timm", "torchvision", "pytesseract") if each in str(error).lower()), "more")
        raise CuetuneError(
            f"{where}: its images are prepared by {name}, which needs {library}; take another model."
        ) from error
    except UNTRUE as error:
        reason = str(error).strip().splitlines()[0][:160] if str(error).strip() else type(error).__name__
        raise CuetuneError(f"{where}: preprocessor_config.json does not fit {name} ({reason}).") from error


def check_side(value: Any, setting: str, where: str) -> None:
    """Raise CuetuneError for a size of images that would not fit into memory, before any is made."""
    sides = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else [value]
    for side in sides:
        if isinstance(side, int | float) and side > LARGEST_SIDE:
            raise CuetuneError(
                f"{where}: preprocessor_config.json: {setting} is {side:g} pixels, expected at most {LARGEST_SIDE:,}."
            )


def _name(config: Mapping[str, Any], model_type: str) -> str:
    """The processor's name, without the endings of its versions."""
    for key in NAMES:
        name = str(config.get(key) or "").replace("FeatureExtractor", "ImageProcessor")
        name = name.removesuffix("Pil").removesuffix("Fast")
        if name and _known(name):
            return name
    by_type = _versions().get(model_type) or {}
    return str(by_type.get("torchvision") or by_type.get("pil") or PLAIN).removesuffix("Pil")


def _known(name: str) -> bool:
    return any(name in (each.removesuffix("Pil") for each in found.values() if each) for found in _versions().values())


def _versions() -> Any:
    """Type of model -> its processors, by what runs them."""
    from transformers.models.auto.image_processing_auto import IMAGE_PROCESSOR_MAPPING_NAMES

    return IMAGE_PROCESSOR_MAPPING_NAMES


def _class(name: str) -> Any:
    """The version that needs no torchvision, where there is one."""
    from transformers.models.auto.image_processing_auto import get_image_processor_class_from_name

    plain = f"{name}Pil" if any(f"{name}Pil" in found.values() for found in _versions().values()) else name
    return get_image_processor_class_from_name(plain)


def settings_of(processor: Any) -> dict[str, Any]:
    """All settings of an instance, as plain values, with its name."""
    settings = {key: _plain(value) for key, value in vars(processor).items() if not key.startswith("_")}
    return {**settings, NAMES[0]: type(processor).__name__.removesuffix("Pil")}


def _plain(value: Any) -> Any:
    """A setting as JSON has it."""
    if hasattr(value, "shortest_edge"):  # a SizeDict
        value = dict(value)
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items() if each is not None}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, int) and not isinstance(value, bool):  # Pillow's filters are an enumeration
        return int(value)
    return value if isinstance(value, bool | float | None) else str(value)


def pixels_of(processor: Any, image: Any, **how: Any) -> np.ndarray:
    """(3, H, W) of one Pillow image. Raises ValueError for a processor that makes something else of it."""
    made = np.asarray(processor(image, return_tensors="np", **how)["pixel_values"])
    if made.ndim < 3 or made.shape[-3] != 3 or made.size != np.prod(made.shape[-3:]):
        raise ValueError(f"makes {tuple(made.shape)} of an image, and not (3, height, width)")
    return made.reshape(made.shape[-3:])


def noise() -> list[Any]:
    """Images on which two ways of preparing cannot agree by chance."""
    from PIL import Image

    draw = np.random.default_rng(0)
    return [Image.fromarray(draw.integers(0, 256, (*shape, 3), dtype=np.uint8)) for shape in NOISE]


def described(processor: Any) -> str:
    """An instance as text, from which `asked_bytes` makes it again."""
    return json.dumps(settings_of(processor), sort_keys=True)


@lru_cache(maxsize=8)
def _from_text(text: str) -> Any:
    return instantiated(json.loads(text), "", "preprocessing")


def asked_bytes(text: str, image: Any) -> np.ndarray:
    """(3, H, W) uint8 that a processor makes of an image before it rescales and normalises."""
    made = pixels_of(_from_text(text), image, do_rescale=False, do_normalize=False)
    if made.dtype != np.uint8:
        whole = np.rint(made)
        if not np.array_equal(whole, made) or whole.min() < 0 or whole.max() > 255:
            raise ValueError("makes no bytes of an image before it normalises")
        made = whole.astype(np.uint8)
    return np.ascontiguousarray(made)


def asked_range(processor: Any) -> tuple[tuple[int, int], tuple[float, ...], tuple[float, ...]]:
    """(H, W) of what a processor makes, and the mean and deviation that it normalises by, read off black and white."""
    from PIL import Image

    black, white = (pixels_of(processor, Image.new("RGB", (64, 64), (level,) * 3)).astype(float) for level in (0, 255))
    height, width = black.shape[1:]
    low, high = (each[:, height // 2, width // 2] for each in (black, white))
    if not (high > low).all():
        raise ValueError("makes the same of black and white")
    std = 1 / (high - low)
    return (height, width), tuple(map(float, -low * std)), tuple(map(float, std))
