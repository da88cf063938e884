"""Loading an audio model by name: the bundled ones, local folders, the Hugging Face hub."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from cuetune.backbones.audio import AudioBackbone
from cuetune.backbones.compat import audio as compat_audio
from cuetune.backbones.hearing import Hearing, WhisperHearing, hearing_of
from cuetune.backbones.loading import _device, _dtype, _plain_name, load_tokenizer
from cuetune.backbones.media import with_stored_hash
from cuetune.backbones.whisper import WhisperBackbone
from cuetune.errors import CuetuneError
from cuetune.support.plugins import resolve_model

DEFAULT_AUDIO = "whisper-tiny-en"


def load_audio_backbone(
    name: str = DEFAULT_AUDIO,
    *,
    revision: str | None = None,
    dtype: str = "auto",
    device: str = "auto",
    trust_remote_code: bool = False,
) -> AudioBackbone:
    """A frozen `AudioBackbone`, ready for prompts; a `WhisperBackbone`, which also writes, where it is a Whisper.

    name: a bundled model (`cuetune models`), a local folder, or a model id of the hub (HF_HUB_OFFLINE is honoured);
    "NAME@5" is a Whisper that hears at least 5 seconds of what it writes down, and not 30, for a fraction of the time.
    trust_remote_code: of no effect; no family that is known brings code of its own.
    dtype, device: as of `load_backbone`. Raises CuetuneError when the model is not found, is no audio model that is
    known, does not say how its audio files are prepared, or does not take injections.
    """
    place = _device(device)
    return with_stored_hash(lambda wanted: _loaded(name, wanted, place, revision), _dtype(dtype, place))


def _loaded(name: str, dtype: Any, place: Any, revision: str | None) -> AudioBackbone:
    plain, seconds = _window(name)
    source = resolve_model(plain)
    options: dict[str, Any] = {"revision": revision}
    try:
        model = compat_audio.load_audio(source, dtype=dtype, use_safetensors=True, **options)
    except (OSError, ValueError, ImportError, KeyError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CuetuneError(f"{name}: no audio model could be loaded ({reason}).") from error
    revision = revision or getattr(model.config, "_commit_hash", None)
    hearing = load_hearing(name, **options)
    called = _plain_name(plain) + (f"@{seconds}" if seconds else "")
    if model.config.model_type == "whisper":
        return WhisperBackbone(model.to(place), hearing, load_tokenizer(plain, **options), called, revision)
    return AudioBackbone(model.to(place), hearing, called, revision)


def _window(name: str) -> tuple[str, int | None]:
    """The model in "NAME@5" and its seconds; None where none are named."""
    plain, _, seconds = name.rpartition("@")
    return (plain, int(seconds)) if plain and seconds.isdigit() and not Path(name).is_dir() else (name, None)


def load_hearing(name: str = DEFAULT_AUDIO, *, revision: str | None = None) -> Hearing:
    """How a model's audio files are prepared, without its weights. name: as of `load_audio_backbone`.

    Raises CuetuneError for seconds that the model does not hear, or that it has no use for.
    """
    plain, seconds = _window(name)
    try:
        config = compat_audio.extractor_config(resolve_model(plain), revision=revision)
    except (OSError, ValueError) as error:
        raise CuetuneError(
            f"{name}: no preprocessor_config.json, which says how audio files are prepared; copy it beside the weights."
        ) from error
    hearing = hearing_of(config, name)
    if seconds is None:
        return hearing
    longest = hearing.longest // hearing.rate
    if not isinstance(hearing, WhisperHearing) or not 0 < seconds <= longest:
        raise CuetuneError(f"{name}: @{seconds} names seconds that a Whisper hears, 1 to {longest}; leave it out.")
    return replace(hearing, written=float(seconds))
