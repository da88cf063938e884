"""Loading an image model by name: the bundled ones, local folders, the Hugging Face hub."""

from pathlib import Path
from typing import Any

from cuetune.backbones.compat import vision as compat_vision
from cuetune.backbones.conv import ConvBackbone
from cuetune.backbones.image import ImageBackbone
from cuetune.backbones.loading import _device, _dtype, _plain_name
from cuetune.backbones.media import with_stored_hash
from cuetune.backbones.preprocessing import Preprocessing
from cuetune.backbones.seeing import SeeingBackbone
from cuetune.errors import CuetuneError
from cuetune.support.plugins import resolve_model

DEFAULT_IMAGE = "dinov2-small"


def load_image_backbone(
    name: str = DEFAULT_IMAGE,
    *,
    revision: str | None = None,
    dtype: str = "auto",
    device: str = "auto",
    trust_remote_code: bool = False,
) -> SeeingBackbone:
    """A frozen `ImageBackbone`, or `ConvBackbone` of a convolutional network, ready for prompts.

    name: a bundled model (`cuetune models`), a local folder, or a model id of the hub (HF_HUB_OFFLINE is honoured);
    "NAME@98" sees images of 98 x 98 pixels, for a fraction of the time, where the model takes other sizes than its
    own. The size is part of the name that is recorded, so that a saved prompt finds its way back.
    dtype, device: as of `load_backbone`. Raises CuetuneError when the model is not found, does not see images,
    does not say how its images are prepared, or does not take injections.
    """
    place = _device(device)
    options: dict[str, Any] = {"revision": revision, "trust_remote_code": trust_remote_code}
    return with_stored_hash(lambda wanted: _loaded(name, wanted, place, **options), _dtype(dtype, place))


def _loaded(name: str, dtype: Any, place: Any, *, revision: str | None, trust_remote_code: bool) -> SeeingBackbone:
    plain, side = sized(name)
    source = resolve_model(plain)
    options: dict[str, Any] = {"revision": revision, "trust_remote_code": trust_remote_code}
    try:
        model = compat_vision.load_vision(source, dtype=dtype, use_safetensors=True, **options)
    except (OSError, ValueError, ImportError, KeyError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CuetuneError(f"{name}: no image model could be loaded ({reason}).") from error
    commit = getattr(model.config, "_commit_hash", None)
    preprocessing, called = load_preprocessing(name, revision=revision), _plain_name(plain)
    convolutional = compat_vision.is_convolutional(model.config)
    if side is not None:
        patch = (1, 1) if convolutional else compat_vision.patch_size(compat_vision.vision_config(model))
        if side % patch[0] or side % patch[1]:
            raise CuetuneError(f"{name}: {side} pixels are no multiple of a patch of {patch[0]} x {patch[1]}.")
        called = f"{called}@{side}"
    kind = ConvBackbone if convolutional else ImageBackbone
    return kind(model.to(place), preprocessing, called, revision or commit)


def sized(name: str) -> tuple[str, int | None]:
    """The model in "NAME@98" and the side of its images; None where no size is named."""
    plain, _, side = name.rpartition("@")
    return (plain, int(side)) if plain and side.isdigit() and not Path(name).is_dir() else (name, None)


def load_preprocessing(name: str = DEFAULT_IMAGE, *, revision: str | None = None) -> Preprocessing:
    """How a model's images are prepared, without its weights. name: "NAME@98" as in `load_image_backbone`."""
    plain, side = sized(name)
    try:
        config = compat_vision.processor_config(resolve_model(plain), revision=revision)
    except (OSError, ValueError) as error:
        raise CuetuneError(
            f"{name}: no preprocessor_config.json, which says how images are prepared; copy it beside the weights."
        ) from error
    own = Preprocessing.from_config(config, plain, compat_vision.model_type(resolve_model(plain), revision=revision))
    return own if side is None else own.sized(side)
