"""Audio files through every verb on a tiny wav2vec 2.0, and bad input as one line that leaves things whole."""

import csv
import json

import numpy as np
import pytest
import soundfile

import cuetune as package
from tiny_audio import RATE, audio_backbone, audio_model

FEW = ("--steps", "6", "--evaluate-every", "3", "--batch-size", "4", "--length", "3", "--dtype", "float32")
SETTINGS = {"steps": 6, "evaluate_every": 3, "batch_size": 4, "length": 3}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A folder with a tiny model, as it lies on a user's disk."""
    folder = tmp_path_factory.mktemp("models") / "tiny-wav2vec2"
    audio_model("wav2vec2").save_pretrained(folder)
    prepared = {"feature_extractor_type": "Wav2Vec2FeatureExtractor", "sampling_rate": RATE, "do_normalize": True}
    (folder / "preprocessor_config.json").write_text(json.dumps(prepared))
    return folder


@pytest.fixture(scope="module")
def tones(tmp_path_factory):
    """Tones with noise that are low or high, ten of each, 0.1 to 0.3 seconds long."""
    folder, draw = tmp_path_factory.mktemp("data") / "tones", np.random.default_rng(0)
    for label, pitch in (("high", 2000), ("low", 200)):
        (folder / label).mkdir(parents=True)
        for number in range(10):
            times = np.arange(int(RATE * draw.uniform(0.1, 0.3))) / RATE
            wave = 0.3 * np.sin(2 * np.pi * pitch * times) + 0.02 * draw.normal(size=len(times))
            soundfile.write(folder / label / f"{number}.wav", wave, RATE)
    return folder


def tuned(data, to, prompt="deep", **more):
    """A prompt tuned in this process on the shared tiny backbone."""
    settings = package.Settings(**{**SETTINGS, **more})
    quiet = {"reporters": [], "log": lambda line: None}
    return package.tune(data, to, model=audio_backbone("wav2vec2"), prompt=prompt, settings=settings, **quiet)


def test_tune_show_predict_evaluate(cuetune, tones, model, tmp_path):
    prompt = tmp_path / "prompt"
    code, out, err = cuetune("tune", tones, "--to", prompt, "--model", model, *FEW)
    assert code == 0, err
    assert "linear probe" in out
    assert json.loads(cuetune("show", prompt, "--json")[1])["backbone"]["kind"] == "audio"
    code, out, err = cuetune("predict", prompt, tones, "--to", tmp_path / "out.csv", "--model", model)
    assert code == 0, err
    answers = list(csv.DictReader((tmp_path / "out.csv").open()))
    assert [answer["audio"].split("/")[-2] for answer in answers] == ["high"] * 10 + ["low"] * 10
    assert all(abs(float(each["p(high)"]) + float(each["p(low)"]) - 1) < 1e-5 for each in answers)
    code, out, err = cuetune("evaluate", prompt, tones, "--model", model, "--json")
    assert code == 0, err
    assert set(json.loads(out)["methods"]) == {"tuned"}


@pytest.mark.parametrize("prompt", ["deep", "shallow", "prefix", "wave"])
def test_saved_is_in_memory_and_a_batch_is_its_rows_one_by_one(tones, tmp_path, prompt):
    made = tuned(tones, tmp_path / "prompt", prompt, prompt_options={"seconds": 0.1} if prompt == "wave" else {})
    again = package.load(tmp_path / "prompt")
    rows = [{"audio": str(path), "label": ""} for path in sorted(tones.rglob("*.wav"))[::4]]
    frozen = audio_backbone("wav2vec2")
    ours, theirs = (list(package.predict(each, rows, model=frozen)) for each in (made, again))
    alone = [next(package.predict(again, [row], model=frozen)) for row in rows]
    for first, second, single in zip(ours, theirs, alone, strict=True):
        assert first.probabilities == second.probabilities
        assert first.probabilities == pytest.approx(single.probabilities, abs=1e-5)


def test_other_rates_and_stereo_are_converted_and_bad_files_are_one_line(cuetune, tones, model, tmp_path):
    tuned(tones, tmp_path / "prompt")
    wave = 0.3 * np.sin(np.arange(4000) / 9)
    soundfile.write(tmp_path / "stereo.wav", np.stack([wave, wave], axis=1), 44100)
    said = ("predict", tmp_path / "prompt", "--model", model)
    code, out, err = cuetune(*said, "--input", tmp_path / "stereo.wav")
    assert code == 0, err
    bad = {"broken.wav": b"RIFF\0\0\0\0WAVEjunk", "empty.wav": b""}
    for name, content in bad.items():
        (tmp_path / name).write_bytes(content)
        refused(cuetune(*said, "--input", tmp_path / name), name)
    soundfile.write(tmp_path / "nothing.wav", np.zeros(0), RATE)
    refused(cuetune(*said, "--input", tmp_path / "nothing.wav"), "nothing.wav")
    (tmp_path / "rows.csv").write_text(f"audio,label\n{next(tones.rglob('*.wav'))},low\nmissing.wav,high\n")
    refused(cuetune("tune", tmp_path / "rows.csv", "--to", tmp_path / "new", "--model", model, *FEW), "missing.wav")
    assert not (tmp_path / "new").exists()


def refused(result, name):
    code, _, err = result
    assert code != 0
    assert name in err
    assert "Traceback" not in err
