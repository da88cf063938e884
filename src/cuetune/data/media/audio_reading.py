"""Audio files of users, read by libsndfile: every format becomes one channel at the model's rate, and is counted.

Every fault is one line that says where it is.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cuetune.data.media import av_audio
from cuetune.data.media.audio_integrity import missing
from cuetune.data.media.opening import opened
from cuetune.errors import CuetuneError

UNKNOWN_FORMATS = (1, 4)  # libsndfile's numbers of a format that it does not recognise, or of which not the codec
SHORTEST = 0.002  # seconds: less says nothing


@dataclass
class Converted:
    """What was done to audio files for a model: how many had another rate, several channels, were cut."""

    rates: Counter[int] = field(default_factory=Counter)
    mixed: int = 0
    cut: int = 0
    longest: float = 0.0

    def add(self, rate: int, channels: int, seconds: float, wanted: int, longest: float) -> None:
        """Count one audio file of this rate, as many channels and seconds, that is heard at `wanted`."""
        if rate != wanted:
            self.rates[rate] += 1
        self.mixed += channels > 1
        if seconds > longest:
            self.cut, self.longest = self.cut + 1, longest

    def lines(self, rate: int) -> list[str]:
        """What to tell the user; nothing where nothing was done."""
        said = []
        if self.rates:
            found = ", ".join(f"{each:,} Hz ({count:,})" for each, count in sorted(self.rates.items()))
            said.append(f"resampled to {rate:,} Hz: {found}")
        if self.mixed:
            said.append(f"mixed down to one channel: {self.mixed:,}")
        if self.cut:
            said.append(f"cut to {self.longest:g} s, the longest that is heard: {self.cut:,}")
        return said


def read_recording(source: Any, where: str, rate: int, longest: float) -> np.ndarray:
    """The samples (n,) in float32 of an audio file, mixed down and resampled to `rate`, at most `longest` seconds.

    source: a path, bytes, `{"bytes": …, "path": …}` or `{"array": …, "sampling_rate": …}` as `datasets` keeps audio
        files.
    where: its place in the data, for errors. No more than `longest` is ever decoded.
    Raises CuetuneError for anything missing, empty, broken, silent, shorter than two milliseconds or not finite.
    """
    if isinstance(source, Mapping) and source.get("array") is not None:
        (samples, own), name = _given(source, where), where
        samples = samples[: int(longest * own)]
    else:
        samples, own, name = _decoded(source, where, longest)
    _check(samples, own, name)
    mono = samples.mean(axis=1)
    if not np.ptp(mono):
        raise CuetuneError(f"{name}: silent: every sample is {mono[0]:g}; replace it or remove the row.")
    if own != rate:
        mono = _soxr().resample(mono, own, rate)
    return mono.astype(np.float32)


def _given(source: Mapping[str, Any], where: str) -> tuple[np.ndarray, int]:
    """(samples (n, channels), rate)."""
    samples, own = np.asarray(source["array"], dtype=np.float32), int(source.get("sampling_rate") or 0)
    if own <= 0 or samples.ndim not in (1, 2):
        raise CuetuneError(f"{where}: samples without a sampling_rate, or of {samples.ndim} dimensions; give both.")
    return samples.reshape(len(samples), -1), own


def shape_of(source: Any, where: str) -> tuple[int, int, float]:
    """(rate, channels, seconds) of an audio file that can be read, as its header says; nothing is decoded."""
    if isinstance(source, Mapping) and source.get("array") is not None:
        samples, own = _given(source, where)
        return own, samples.shape[1], len(samples) / own
    stream, name = opened(source, where, "audio file")
    library = soundfile()
    with stream:
        try:
            info = library.info(stream)
        except library.LibsndfileError as error:
            if not _is_unknown(error):
                raise _broken(name, error) from error
            stream.seek(0)
            return av_audio.shape(stream, name)
    return int(info.samplerate), int(info.channels), float(info.duration)


def _decoded(source: Any, where: str, longest: float) -> tuple[np.ndarray, int, str]:
    """(samples (n, channels), rate, what to call it)."""
    library = soundfile()
    stream, name = opened(source, where, "audio file")
    with stream:
        try:
            with library.SoundFile(stream) as file:
                asked = int(longest * file.samplerate)
                samples = file.read(asked, dtype="float32", always_2d=True)
                if lacks := missing(file, stream, asked, len(samples)):
                    raise CuetuneError(f"{name}: cut off audio ({lacks}); replace it or remove the row.")
                return samples, int(file.samplerate), name
        except (library.LibsndfileError, RuntimeError, TypeError, ValueError) as error:
            if not _is_unknown(error):
                raise _broken(name, error) from error
        stream.seek(0)
        return *av_audio.decoded(stream, name, longest), name


def _is_unknown(error: Exception) -> bool:
    """Whether libsndfile does not know a file's format or codec, and PyAV may."""
    return getattr(error, "code", None) in UNKNOWN_FORMATS and av_audio.av() is not None


def _broken(name: str, error: Exception) -> CuetuneError:
    reason = str(getattr(error, "error_string", error)).splitlines()[0][:80]
    more = ' (other formats need PyAV: `pip install "cuetune[video]"`)' if av_audio.av() is None else ""
    return CuetuneError(
        f"{name}: not a readable audio file ({reason.rstrip('.')}); use WAV, FLAC, Ogg or MP3{more}, or remove the row."
    )


def _check(samples: np.ndarray, rate: int, name: str) -> None:
    if len(samples) < max(2, SHORTEST * rate):
        count = "no samples" if not len(samples) else "1 sample" if len(samples) == 1 else f"{len(samples)} samples"
        raise CuetuneError(f"{name}: {count} at {rate:,} Hz is not audio; replace it or remove the row.")
    if not np.isfinite(samples).all():
        raise CuetuneError(f"{name}: a broken audio file: some samples are no finite numbers; replace it.")


def soundfile() -> Any:
    """The library. Raises CuetuneError where it is not installed."""
    try:
        import soundfile as library
    except (ImportError, OSError) as error:  # OSError where libsndfile itself is missing
        raise CuetuneError('reading audio files needs soundfile; run `pip install "cuetune[audio]"`.') from error
    return library


def _soxr() -> Any:
    try:
        import soxr
    except ImportError as error:
        raise CuetuneError('resampling audio files needs soxr; run `pip install "cuetune[audio]"`.') from error
    return soxr
