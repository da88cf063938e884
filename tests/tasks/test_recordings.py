"""Audio: every format and rate becomes one channel at the model's rate; every fault is one line with its place."""

import io

import numpy as np
import pytest
import soundfile

from cuetune.data.media.audio_batches import conversions, faults, listen
from cuetune.data.media.audio_reading import read_recording, shape_of
from cuetune.data.row import Example
from cuetune.data.skip_report import Skipped
from cuetune.data.task import Task
from cuetune.errors import CuetuneError
from tiny_audio import hearing

RATE = 16000
TASK = Task(template="{audio}", labels=("a", "b"), name="sounds")


def tone(rate: int = RATE, seconds: float = 0.5, pitch: float = 440.0) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * pitch * np.arange(int(rate * seconds)) / rate)


def written(samples, rate=RATE, kind="WAV", subtype=None) -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, samples, rate, format=kind, subtype=subtype)
    return stream.getvalue()


@pytest.mark.parametrize(("kind", "far"), [("WAV", 1e-4), ("FLAC", 1e-4), ("OGG", 0.05), ("MP3", 0.05)])
def test_formats_hold_the_same_sound(kind, far):
    read = read_recording(written(tone(), kind=kind), "row 1", RATE, 30)
    assert read.dtype == np.float32
    assert len(read) == pytest.approx(RATE / 2, abs=1200)
    middle = slice(2000, 6000)
    assert np.abs(np.correlate(read[middle], tone()[:4000], "full")).max() == pytest.approx(500, rel=0.05)
    if far < 0.01:
        assert np.abs(read - tone()).max() < far


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000])
def test_other_rates_are_resampled_to_the_same_tone(rate):
    read = read_recording(written(tone(rate), rate), "row 1", RATE, 30)
    assert len(read) == pytest.approx(RATE / 2, abs=2)
    assert np.abs(read - tone()[: len(read)])[800:-800].max() < 0.01
    spectrum = np.abs(np.fft.rfft(read * np.hanning(len(read))))
    assert np.argmax(spectrum) * RATE / len(read) == pytest.approx(440, abs=3)


def test_channels_are_mixed_and_long_ones_cut():
    both = np.stack([tone(), tone(pitch=880)], axis=1)
    assert np.allclose(read_recording(written(both), "row 1", RATE, 30), both.mean(axis=1), atol=1e-4)
    assert len(read_recording(written(tone(seconds=2)), "row 1", RATE, 0.5)) == RATE // 2


def test_bytes_arrays_and_paths_are_the_same(tmp_path):
    path, content = tmp_path / "a.wav", written(tone())
    path.write_bytes(content)
    wanted = read_recording(path, "", RATE, 30)
    array = {"array": tone().astype(np.float32), "sampling_rate": RATE}
    for source in (str(path), content, {"bytes": content, "path": "a.wav"}, {"bytes": None, "path": str(path)}, array):
        assert np.allclose(read_recording(source, "row 1", RATE, 30), wanted, atol=1e-4)
        assert shape_of(source, "row 1") == (RATE, 1, 0.5)


@pytest.mark.parametrize(
    ("source", "told"),
    [
        (b"", "row 3: an empty audio file"),
        (b"RIFF\0\0\0\0WAVEnothing of an audio file", "row 3: not a readable audio file"),
        (b"%PDF-1.7 not an audio file at all", "row 3: not a readable audio file"),
        (written(np.zeros(0)), "row 3: no samples at 16,000 Hz is not audio"),
        (written(np.ones(1) * 0.5), "row 3: 1 sample at 16,000 Hz is not audio"),
        (written(tone()[:20]), "row 3: 20 samples at 16,000 Hz is not audio"),
        (written(np.zeros(4000)), "row 3: silent: every sample is 0"),
        (written(np.full(4000, 0.25)), "row 3: silent: every sample is 0.25"),
        (written(np.full(4000, np.nan), subtype="FLOAT"), "row 3: a broken audio file: some samples are no finite"),
        (7, "row 3: no audio file but int '7'"),
        ({"array": [0.1, 0.2], "sampling_rate": None}, "row 3: samples without a sampling_rate"),
        ("nowhere.wav", "row 3: nowhere.wav: no such file"),
    ],
)
def test_faults_are_one_line_with_their_place(source, told):
    with pytest.raises(CuetuneError) as caught:
        read_recording(source, "row 3", RATE, 30)
    assert str(caught.value).startswith(told)
    assert "\n" not in str(caught.value)


def examples(*sources) -> list[Example]:
    return [Example(f"row {number}", {"audio": source}, "a") for number, source in enumerate(sources, start=1)]


def test_broken_ones_are_counted_or_the_first_is_an_error():
    rows = examples(written(tone()), b"", written(tone(pitch=200)), written(np.zeros(900)))
    with pytest.raises(CuetuneError, match="row 2: an empty audio file"):
        list(listen(rows, TASK, hearing("wav2vec2")))
    skipped = Skipped()
    ((kept, waves),) = listen(rows, TASK, hearing("wav2vec2"), skipped)
    assert [each.where for each in kept] == ["row 1", "row 3"]
    assert len(waves) == 2
    assert skipped.lines()[0] == "2 rows left out:"
    assert [fault is None for fault in faults(rows, TASK)] == [True, False, True, False]


def test_what_is_converted_is_said():
    stereo = written(np.stack([tone(44100), tone(44100)], axis=1), 44100)
    done = conversions(examples(stereo, written(tone()), written(tone(8000, 40), 8000), stereo), TASK)
    assert done.lines(RATE) == [
        "resampled to 16,000 Hz: 8,000 Hz (1), 44,100 Hz (2)",
        "mixed down to one channel: 2",
        "cut to 30 s, the longest that is heard: 1",
    ]
    assert conversions(examples(written(tone())), TASK).lines(RATE) == []
