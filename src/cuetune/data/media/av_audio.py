"""Audio that libsndfile does not know, such as AAC, and the audio track of videos: decoded by PyAV."""

from typing import Any

import numpy as np

from cuetune.errors import CuetuneError

FAR = 0.5  # seconds that may be missing of what a container states: the encoder's padding
STATED = ("mov", "matroska", "asf", "flv", "avi")  # containers that state how long they are


def av() -> Any:
    """PyAV, whose own messages are for its makers; None where it is not installed."""
    try:
        import av as library
    except ImportError:
        return None
    library.logging.set_level(None)
    return library


def decoded(stream: Any, name: str, longest: float) -> tuple[np.ndarray, int]:
    """(samples (n, channels) in float32, rate) of at most `longest` seconds.

    Raises CuetuneError for a file without audio, a broken one, and one that is shorter than it says.
    """
    library = av()
    try:
        with library.open(stream) as file:
            track = _track(file, name)
            seconds = _stated(file, track)
            samples, rate = _samples(library, file, track, longest)
    except (library.FFmpegError, ValueError, MemoryError) as error:
        reason = (getattr(error, "strerror", None) or str(error) or type(error).__name__).splitlines()[0][:80]
        raise CuetuneError(
            f"{name}: not a readable audio file ({reason.lower()}); replace it or remove the row."
        ) from error
    found = len(samples) / rate if rate else 0.0
    if seconds is not None and found < min(seconds, longest) - FAR:
        raise CuetuneError(
            f"{name}: cut off audio ({found:.1f} of {seconds:.1f} seconds); replace it or remove the row."
        )
    return samples, rate


def shape(stream: Any, name: str) -> tuple[int, int, float]:
    """(rate, channels, seconds) as the header says. Raises CuetuneError as `decoded`."""
    library = av()
    try:
        with library.open(stream) as file:
            track = _track(file, name)
            seconds = _stated(file, track) or (file.duration or 0) / 1e6
            return int(track.rate), int(track.channels), float(seconds)
    except (library.FFmpegError, ValueError) as error:
        raise CuetuneError(f"{name}: not a readable audio file; replace it or remove the row.") from error


def _track(file: Any, name: str) -> Any:
    track = next(iter(file.streams.audio), None)
    if track is None:
        raise CuetuneError(f"{name}: holds no audio; replace it or remove the row.")
    return track


def _stated(file: Any, track: Any) -> float | None:
    """Seconds that the container states; None where they are a guess."""
    if not any(part in STATED for part in file.format.name.split(",")):
        return None
    if track.duration is not None:
        return float(track.duration * track.time_base)
    return None if file.duration is None else file.duration / 1e6


def _samples(library: Any, file: Any, track: Any, longest: float) -> tuple[np.ndarray, int]:
    rate = int(track.rate)
    wanted, parts, count = int(longest * rate), [], 0
    plain = library.AudioResampler(format="fltp")
    for frame in file.decode(track):
        for each in plain.resample(frame):
            parts.append(each.to_ndarray())  # (channels, n)
            count += parts[-1].shape[1]
        if count >= wanted:
            break
    if not parts:
        return np.zeros((0, 1), dtype=np.float32), rate
    return np.concatenate(parts, axis=1).T[:wanted].astype(np.float32), rate
