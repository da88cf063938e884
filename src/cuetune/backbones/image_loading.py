"""Loading a vision transformer by name: the bundled one, local folders, the Hugging Face hub."""

from typing import Any

from cuetune.backbones.bundled import resolve
from cuetune.backbones.image import ImageBackbone
from cuetune.backbones.loading import _device, _dtype, _plain_name, quiet
from cuetune.backbones.preprocessing import Preprocessing
from cuetune.errors import CuetuneError

DEFAULT_IMAGE = "dinov2-small"


def load_image_backbone(
    name: str = DEFAULT_IMAGE,
    *,
    revision: str | None = None,
    dtype: str = "auto",
    device: str = "auto",
    trust_remote_code: bool = False,
) -> ImageBackbone:
    """A frozen `ImageBackbone`, ready for prompts.

    name: a bundled model (`cuetune models`), a local folder, or a model id of the hub (HF_HUB_OFFLINE is honoured).
    dtype, device: as of `load_backbone`. Raises CuetuneError when the model is not found, does not see pictures in
    patches, does not say how its pictures are prepared, or does not take injections.
    """
    from cuetune import compat_vision

    quiet()
    place, source = _device(device), resolve(name)
    options: dict[str, Any] = {"revision": revision, "trust_remote_code": trust_remote_code}
    try:
        model = compat_vision.load_vision(source, dtype=_dtype(dtype, place), use_safetensors=True, **options)
    except (OSError, ValueError, ImportError, KeyError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CuetuneError(f"{name}: no vision transformer could be loaded ({reason}).") from error
    commit = getattr(model.config, "_commit_hash", None)
    preprocessing = load_preprocessing(name, revision=revision)
    return ImageBackbone(model.to(place), preprocessing, _plain_name(name), revision or commit)


def load_preprocessing(name: str = DEFAULT_IMAGE, *, revision: str | None = None) -> Preprocessing:
    """How a model's pictures are prepared, without its weights."""
    from cuetune import compat_vision

    try:
        config = compat_vision.processor_config(resolve(name), revision=revision)
    except (OSError, ValueError) as error:
        raise CuetuneError(
            f"{name}: no preprocessor_config.json, which says how pictures are prepared; copy it beside the weights."
        ) from error
    return Preprocessing.from_config(config, name)
