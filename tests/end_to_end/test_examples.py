"""Every example: its config is sound, runs as a user would run it, and its README shows what was measured."""

import importlib.util
import json
import tomllib
from pathlib import Path

import pytest

import tiny
from cuetune.backbones.bundled import pull
from cuetune.errors import CuetuneError
from cuetune.tasks.datasets import DATASETS, cached
from cuetune.tuning.settings import Settings

ROOT = Path(__file__).parents[2]
SPEC = importlib.util.spec_from_file_location("measure", ROOT / "examples" / "measure.py")
measure = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(measure)
NAMES = measure.names()


def config_of(name):
    path = ROOT / "examples" / name / "config.toml"
    return path, tomllib.loads(path.read_text(encoding="utf-8"))


def test_the_uses_are_all_there():
    wanted = {"negative-reviews", "customer-questions", "spam-mails", "news-topics", "english-french"}
    assert set(NAMES) == wanted | {"blood-brain-barrier"}


def rows_like(promised, n=40):
    """Rows of a data set's shape: its columns, its labels in turn."""
    labels = list(promised.labels) or [f"mot {number}" for number in range(n)]
    made = []
    for number in range(n):
        row = {column: f"{column} {number} good" for column in promised.columns}
        made.append({**row, promised.asked: labels[number % len(labels)]})
    return made


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Folders of tiny models, by the name that an example's config gives; None is the default."""
    encoder = tmp_path_factory.mktemp("models") / "tiny-bert"
    tiny.encoder("bert").save_pretrained(encoder)
    tiny.masked_tokenizer().save_pretrained(encoder)
    return {None: tiny.folder(), "rxn-bert": encoder}


@pytest.mark.parametrize("name", NAMES)
def test_an_example_runs_on_rows_of_its_shape(name, cuetune, models, tmp_path, monkeypatch):
    path, config = config_of(name)
    promised = DATASETS[config["data"]]
    stand_in = tiny.write_csv(tmp_path / "rows.csv", rows_like(promised))
    monkeypatch.setattr("cuetune.tasks.reading.cached", lambda wanted: stand_in if wanted == promised.name else None)
    monkeypatch.chdir(tmp_path)
    few = ("--steps", 2, "--evaluate-every", 1, "--shots", 1, "--model", models[config.get("model")])
    code, out, err = cuetune("tune", "--config", path, *few)
    assert code == 0, err
    saved = json.loads((tmp_path / config["to"] / "cuetune.json").read_text())
    assert saved["record"]["cost"]["steps"] == 2
    assert saved["task"]["labels"] == sorted(promised.labels)
    assert saved["task"]["template"] == config["template"].replace("\\n", "\n")
    assert saved["task"]["label_column"] == promised.asked
    assert saved["record"]["data"]["source"] == config["data"]
    assert set(saved["record"]["scores"]) >= {"tuned"}


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", NAMES)
def test_an_example_runs_on_its_data_and_model(name, cuetune, tmp_path, monkeypatch):
    path, config = config_of(name)
    try:
        cached(config["data"])
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
    same = set(said) & set(Settings.model_fields) - {"options"}
    assert {key: result["settings"][key] for key in same} == {key: said[key] for key in same}
    assert result["data"]["source"] == config["data"]
