"""An image, audio or video file is opened once in a run: to check, tell copies apart, learn and score."""

import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

import cuetune
from cuetune.tuning.settings import Settings
from tiny_audio import RATE, audio_backbone
from tiny_video import film, frames_backbone
from tiny_vision import dark_and_light, image_backbone

OPENED: Counter[str] = Counter()


@pytest.fixture(autouse=True, scope="module")
def _watched():
    def hook(event, arguments):
        if event == "open" and isinstance(arguments[0], str | Path):
            OPENED[str(arguments[0])] += 1

    sys.addaudithook(hook)


def tones(folder):
    draw = np.random.default_rng(0)
    for label, pitch in (("high", 2000), ("low", 300)):
        (folder / label).mkdir(parents=True)
        for number in range(8):
            times = np.arange(RATE // 5) / RATE
            wave = 0.3 * np.sin(2 * np.pi * pitch * times) + 0.02 * draw.normal(size=len(times))
            soundfile.write(folder / label / f"{number}.wav", wave, RATE)


def films(folder):
    draw = np.random.default_rng(0)
    for number in range(16):
        label = ("dark", "light")[number % 2]
        (folder / label).mkdir(parents=True, exist_ok=True)
        frames = draw.integers(0, 100, (6, 32, 32, 3), dtype=np.uint8) + 120 * (number % 2)
        film(folder / label / f"{number}.mp4", frames.astype(np.uint8))


CASES = {
    "image": (lambda folder: dark_and_light(folder, 8), image_backbone, "vpt"),
    "audio": (tones, lambda: audio_backbone("wav2vec2"), "deep"),
    "video": (films, frames_backbone, "temporal"),
}


@pytest.mark.parametrize("modality", CASES)
def test_content_is_opened_once_in_a_run(modality, tmp_path):
    make, backbone, prompt = CASES[modality]
    make(tmp_path / "data")
    files = [path for path in (tmp_path / "data").rglob("*") if path.is_file()]
    OPENED.clear()
    tuned = cuetune.tune(
        tmp_path / "data", tmp_path / "prompt", model=backbone(), prompt=prompt, reporters=[], log=lambda line: None,
        settings=Settings(steps=2, batch_size=4, length=2, evaluate_every=1),
    )  # fmt: skip
    assert "linear probe" in tuned.record["scores"]
    assert {OPENED[str(path)] for path in files} == {1}
    OPENED.clear()
    cuetune.evaluate(tuned, tmp_path / "data", model=backbone(), demonstrations=tmp_path / "data")
    assert {OPENED[str(path)] for path in files} <= {1, 2}  # to score, and for the probe to learn from
