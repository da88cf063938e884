"""Every example: its config loads, runs as a user would run it, and its README shows what was measured."""

import importlib.util
import json
import tomllib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

import tiny
from cuetune.data.labels.names import in_order
from cuetune.errors import CuetuneError
from cuetune.support import plugins
from cuetune.tuning.settings import Settings
from cuetune_catalog.datasets.registry import DATASETS
from cuetune_catalog.models.bundled import pull
from tiny_audio import RATE, SECONDS, audio_model, noise, speech_tokenizer, whisper_model
from tiny_video import FRAMES, film
from tiny_vision import picture, vision_model

pytest.importorskip("av")

ENDINGS = {"image": "png", "audio": "wav", "video": "mp4"}
PREPARED = {
    "tiny-vit": {"image_processor_type": "ViTImageProcessor", "size": {"height": 24, "width": 24}},
    "tiny-wav2vec2": {
        "feature_extractor_type": "Wav2Vec2FeatureExtractor",
        "sampling_rate": RATE,
        "do_normalize": True,
    },
    "tiny-whisper": {
        "feature_extractor_type": "WhisperFeatureExtractor",
        "feature_size": 20,
        "sampling_rate": RATE,
        "chunk_length": SECONDS,
        "n_fft": 400,
        "hop_length": 160,
    },
}
ROOT = Path(__file__).parents[2]
SPEC = importlib.util.spec_from_file_location("measure", ROOT / "examples" / "measure.py")
measure = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(measure)
NAMES = measure.names()


def config_of(name):
    path = ROOT / "examples" / name / "config.toml"
    return path, tomllib.loads(path.read_text(encoding="utf-8"))


def test_the_uses_are_all_there():
    texts = {"negative-reviews", "customer-questions", "spam-mails", "news-topics", "english-french"}
    texts |= {"review-scores", "word-senses"}
    others = {
        "emoji-categories",
        "drum-sounds",
        "spoken-numbers",
        "french-captions",
        "moving-drawings",
        "photos-to-cartoons",
    }
    assert set(NAMES) == texts | others | {"blood-brain-barrier"}


def content(column, number, folder):
    """A cell: a text, or the name of a file with an image, an audio file or a video."""
    path = folder / f"{column}-{number}.{ENDINGS[column]}" if column in ENDINGS else None
    if column == "image":
        picture(size=(24 + number, 24)).save(path)
    elif column == "audio":
        soundfile.write(path, noise(0.1 + 0.01 * number, seed=number)[0].numpy(), RATE)
    elif column == "video":
        film(path, np.random.default_rng(number).integers(0, 255, (8, 32, 32, 3), dtype=np.uint8))
    return f"{column} {number} good" if path is None else path.name


def rows_like(promised, folder, hold_out, asked):
    """Rows of a data set's shape: its columns, its labels in turn; every ninth row is held out.

    asked: the column of the answers; other than the usual one it holds numbers. Of several labels every third row has
    two.
    """
    labels, made = list(promised.labels) or [f"mot {number}" for number in range(40)], []
    for number in range(max(40, 4 * len(labels) if promised.labels else 0)):
        row = {column: content(column, number, folder) for column in promised.columns}
        wanted = {column: values.split(",") for column, values in hold_out.items()} if number % 9 == 0 else {}
        aside = {column: values[number // 9 % len(values)] for column, values in wanted.items()}
        answer = labels[number % len(labels)]
        if promised.target == "labels" and number % 3 == 0:
            answer = "|".join(sorted({answer, labels[(number + 1) % len(labels)]}))
        made.append(
            {**row, **aside, promised.target: answer} | ({} if asked == promised.target else {asked: number / 8})
        )
    return made


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Folders of tiny models, by the name that an example's config gives; None is the default."""
    encoder = tmp_path_factory.mktemp("models") / "tiny-bert"
    tiny.encoder("bert").save_pretrained(encoder)
    tiny.masked_tokenizer().save_pretrained(encoder)
    places = {name: tmp_path_factory.mktemp("media") / name for name in ("tiny-vit", "tiny-wav2vec2", "tiny-whisper")}
    vision_model("vit").save_pretrained(places["tiny-vit"])
    audio_model("wav2vec2").save_pretrained(places["tiny-wav2vec2"])
    whisper_model().save_pretrained(places["tiny-whisper"])
    speech_tokenizer().save_pretrained(places["tiny-whisper"])
    for name, place in places.items():
        (place / "preprocessor_config.json").write_text(json.dumps(PREPARED[name]))
    return {
        None: tiny.folder(),
        "rxn-bert": encoder,
        "dinov2-small@70": places["tiny-vit"],
        "dinov2-small@4x70": f"{places['tiny-vit']}@{FRAMES}x24",
        "whisper-tiny-en": places["tiny-wav2vec2"],
        "whisper-base": places["tiny-wav2vec2"],
        "whisper-base@4": places["tiny-whisper"],
    }


@pytest.mark.parametrize("name", NAMES)
def test_an_example_runs_on_rows_of_its_shape(name, cuetune, models, tmp_path, monkeypatch):
    path, config = config_of(name)
    promised = DATASETS[config["data"]]
    asked = config.get("label", promised.target)
    rows = rows_like(promised, tmp_path, config.get("hold_out", {}), asked)
    stand_in = tiny.write_csv(tmp_path / "rows.csv", rows)
    monkeypatch.setattr(plugins, "dataset", {promised.name: SimpleNamespace(source=lambda: stand_in)}.get)
    monkeypatch.chdir(tmp_path)
    few = ["--steps", 2, "--evaluate-every", 1, "--shots", 1, "--length", 4, "--model", models[config.get("model")]]
    few += ["--head-layer", 2] if "head_layer" in config else []
    code, out, err = cuetune("tune", "--config", path, *few)
    assert code == 0, err
    saved = json.loads((tmp_path / config["to"] / "cuetune.json").read_text())
    assert saved["record"]["cost"]["steps"] == 2
    assert saved["task"]["labels"] == (list(in_order(promised.labels)) if asked == promised.target else [])
    if "template" in config:
        assert saved["task"]["template"] == config["template"].replace("\\n", "\n")
    assert saved["task"]["label_column"] == asked
    assert saved["record"]["data"]["source"] == config["data"]
    assert set(saved["record"]["scores"]) >= {"tuned"}


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", NAMES)
def test_an_example_runs_on_its_data_and_model(name, cuetune, tmp_path, monkeypatch):
    path, config = config_of(name)
    try:
        DATASETS[config["data"]].source()
        pull(config.get("model", "smollm2-135m"))
    except CuetuneError as error:
        pytest.skip(f"cannot be fetched here: {error}")
    monkeypatch.chdir(tmp_path)
    code, out, err = cuetune("tune", "--config", path, "--steps", 3, "--no-baselines")
    assert code == 0, err
    assert "held-out rows" in out


@pytest.mark.parametrize("name", NAMES)
def test_the_readme_shows_the_command_and_the_measured_result(name):
    folder = ROOT / "examples" / name
    readme = (folder / "README.md").read_text(encoding="utf-8")
    assert f"cuetune tune --config examples/{name}/config.toml\n" in readme
    _, config = config_of(name)
    assert f"`{config['data']}`" in readme
    assert f"{DATASETS[config['data']].rows:,}" in readme
    assert f"cuetune predict {config['to']} " in readme
    shown = measure.TABLE.search(readme)[0]
    if not (folder / "result.json").exists():
        assert shown == "Not measured yet.\n"
        return
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    assert shown == measure.table(result)
    said = {key.replace("-", "_"): value for key, value in config.items()}
    same = set(said) & set(Settings.model_fields) - {"prompt_options"}
    assert {key: result["settings"][key] for key in same} == {key: said[key] for key in same}
    assert result["data"]["source"] == config["data"]
