"""Loading a model of sound by name: the bundled ones, local folders, the Hugging Face hub."""

from typing import Any

from cuetune.backbones.audio import AudioBackbone
from cuetune.backbones.bundled import resolve
from cuetune.backbones.hearing import Hearing, hearing_of
from cuetune.backbones.loading import _device, _dtype, _plain_name, load_tokenizer, quiet
from cuetune.backbones.whisper import WhisperBackbone
from cuetune.errors import CuetuneError

DEFAULT_AUDIO = "whisper-tiny-en"


def load_audio_backbone(
    name: str = DEFAULT_AUDIO, *, revision: str | None = None, dtype: str = "auto", device: str = "auto"
) -> AudioBackbone:
    """A frozen `AudioBackbone`, ready for prompts; a `WhisperBackbone`, which also writes, where it is a Whisper.

    name: a bundled model (`cuetune models`), a local folder, or a model id of the hub (HF_HUB_OFFLINE is honoured).
    dtype, device: as of `load_backbone`. Raises CuetuneError when the model is not found, is no model of sound that is
    known, does not say how its sounds are prepared, or does not take injections.
    """
    from cuetune import compat_audio

    quiet()
    place, source = _device(device), resolve(name)
    options: dict[str, Any] = {"revision": revision}
    try:
        model = compat_audio.load_audio(source, dtype=_dtype(dtype, place), use_safetensors=True, **options)
    except (OSError, ValueError, ImportError, KeyError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CuetuneError(f"{name}: no model of sound could be loaded ({reason}).") from error
    revision = revision or getattr(model.config, "_commit_hash", None)
    hearing = load_hearing(name, **options)
    if model.config.model_type == "whisper":
        return WhisperBackbone(model.to(place), hearing, load_tokenizer(name, **options), _plain_name(name), revision)
    return AudioBackbone(model.to(place), hearing, _plain_name(name), revision)


def load_hearing(name: str = DEFAULT_AUDIO, *, revision: str | None = None) -> Hearing:
    """How a model's sounds are prepared, without its weights."""
    from cuetune import compat_audio

    try:
        config = compat_audio.extractor_config(resolve(name), revision=revision)
    except (OSError, ValueError) as error:
        raise CuetuneError(
            f"{name}: no preprocessor_config.json, which says how sounds are prepared; copy it beside the weights."
        ) from error
    return hearing_of(config, name)
