"""Audio that was cut off is refused, wherever the cut is, and whole files of every encoder are read."""

import io

import av
import numpy as np
import pytest
import soundfile

from cuetune.data.media.audio_reading import read_recording, shape_of
from cuetune.errors import CuetuneError

RATE = 16000
NOISE = np.random.default_rng(0).normal(size=4 * RATE) * 0.05 + 0.5 * np.sin(np.arange(4 * RATE) * 0.05)
PAYLOADS = ("WAV", "WAVEX", "AIFF", "AU", "FLAC", "OGG", "MP3", "W64", "RF64", "SVX", "MAT4")


def written(kind, subtype=None, samples=NOISE, rate=RATE) -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, samples, rate, format=kind, subtype=subtype)
    return stream.getvalue()


def encoded(container, codec, rate=RATE, **options) -> bytes:
    """Noise by one of FFmpeg's encoders."""
    stream = io.BytesIO()
    with av.open(stream, "w", format=container, options=options) as file:
        track = file.add_stream(codec, rate=rate, layout="mono")
        track.bit_rate = 64_000
        resampler = av.AudioResampler(
            format=track.format, layout="mono", rate=rate, frame_size=track.frame_size or 1024
        )
        frame = av.AudioFrame.from_ndarray(NOISE[None].astype(np.float32), format="fltp", layout="mono")
        frame.rate = RATE
        for each in (*resampler.resample(frame), *resampler.resample(None)):
            file.mux(track.encode(each))
        file.mux(track.encode(None))
    return stream.getvalue()


@pytest.mark.parametrize("kind", PAYLOADS)
@pytest.mark.parametrize("longest", [30, 1.0])
def test_whole_files_are_read(kind, longest):
    content = written(kind)
    read = read_recording(content, "row 1", RATE, longest)
    assert len(read) == pytest.approx(min(4, longest) * RATE, abs=1200)


@pytest.mark.parametrize("kind", PAYLOADS)
@pytest.mark.parametrize("share", [0.3, 0.6, 0.99])
def test_cut_off_files_are_refused(kind, share):
    """Also where the cut lies behind what is heard of a long one."""
    content = written(kind)
    for longest in (30, 1.0):
        with pytest.raises(CuetuneError, match="row 1: (cut off audio|not a readable audio file)") as caught:
            read_recording(content[: int(share * len(content))], "row 1", RATE, longest)
        assert "\n" not in str(caught.value)


MP3S = {"variable": {}, "without the first frame": {"write_xing": "0"}}


@pytest.mark.parametrize("options", MP3S.values(), ids=MP3S)
@pytest.mark.parametrize("rate", [16000, 24000, 44100])
@pytest.mark.parametrize("tag", [b"", b"TAG" + bytes(125)])
def test_mp3_of_another_encoder_is_whole_or_cut_off(options, rate, tag):
    content = encoded("mp3", "libmp3lame", rate, **options) + tag
    assert len(read_recording(content, "row 1", RATE, 30)) == pytest.approx(4 * RATE, abs=2500)
    for cut in (0.4, 0.77):
        with pytest.raises(CuetuneError, match="row 1: cut off audio"):
            read_recording(content[: int(cut * len(content)) // 2 * 2 + 1], "row 1", RATE, 1)


def test_a_wave_file_from_a_pipe_does_not_know_its_length():
    content = bytearray(written("WAV"))
    for unknown in (b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\xf0\xff\x7f"):
        content[4:8] = content[40:44] = unknown
        assert len(read_recording(bytes(content), "row 1", RATE, 30)) == len(NOISE)


def test_a_byte_too_few_is_no_sample():
    """Some writers count a padding byte that they do not write."""
    content = bytearray(written("WAV"))
    content[40:44] = (2 * len(NOISE) + 1).to_bytes(4, "little")
    assert len(read_recording(bytes(content), "row 1", RATE, 30)) == len(NOISE)


BY_PYAV = {
    "m4a": ("ipod", "aac"),
    "aac": ("adts", "aac"),
    "mp4": ("mp4", "aac"),
    "mka": ("matroska", "aac"),
    "webm": ("webm", "libopus"),
    "wma": ("asf", "wmav2"),
    "ac3": ("ac3", "ac3"),
    "tta": ("tta", "tta"),
}


@pytest.mark.parametrize("kind", BY_PYAV)
def test_what_libsndfile_does_not_know_is_read_by_pyav(kind):
    rate = 48000 if kind == "webm" else 44100 if kind in ("wma", "ac3") else RATE
    content = encoded(*BY_PYAV[kind], rate)
    read = read_recording(content, "row 1", RATE, 30)
    assert read.dtype == np.float32
    assert len(read) == pytest.approx(4 * RATE, abs=2500)
    wanted = 0.5 * np.sin(np.arange(8000) * 0.05)
    heard = np.correlate(read[16000:32000], wanted, "valid") / (
        np.linalg.norm(wanted) * np.linalg.norm(read[16000:24000])
    )
    assert np.abs(heard).max() > 0.95
    assert shape_of(content, "row 1")[:2] == (rate, 1)
    assert len(read_recording(content, "row 1", RATE, 1.0)) == RATE


@pytest.mark.parametrize("kind", ["mka", "webm", "wma"])
def test_cut_off_files_of_pyav_are_refused(kind):
    rate = 48000 if kind == "webm" else 44100 if kind == "wma" else RATE
    content = encoded(*BY_PYAV[kind], rate)
    with pytest.raises(CuetuneError, match="row 1: (cut off audio|not a readable audio file)"):
        read_recording(content[: len(content) // 2], "row 1", RATE, 30)


def test_a_video_without_sound_is_told():
    stream = io.BytesIO()
    with av.open(stream, "w", format="mp4") as file:
        track = file.add_stream("mpeg4", rate=10)
        track.width = track.height = 32
        for _ in range(3):
            file.mux(track.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")))
        file.mux(track.encode(None))
    with pytest.raises(CuetuneError, match="row 1: holds no audio"):
        read_recording(stream.getvalue(), "row 1", RATE, 30)
