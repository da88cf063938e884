"""`cuetune models` and `cuetune data`: lists that are quick and whole, pulls, and mistakes as one line."""

import os
import subprocess
import sys

import pytest

from cuetune_catalog.datasets.registry import DATASETS
from cuetune_catalog.models import bundled


def test_lists_keep_names_whole_in_a_narrow_terminal(cuetune, fake_pip, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    code, out, _ = cuetune("models")
    assert code == 0
    assert "smollm2-135m" in out
    assert "Apache-2.0" in out
    assert "next: cuetune models pull smollm2-135m" in out
    code, out, _ = cuetune("data")
    assert code == 0
    assert all(name in out for name in DATASETS)
    assert f"{DATASETS['spam-mails'].rows:,}" in out
    assert "next: cuetune data pull" in out
    assert fake_pip.calls == []


def test_a_cached_model_is_listed_with_its_folder(cuetune, fake_pip):
    folder = bundled.folder_of("smollm2-135m")
    folder.mkdir(parents=True)
    (folder / bundled.SOURCE).write_text("{}")
    code, out, _ = cuetune("models")
    assert code == 0
    assert f"smollm2-135m is in {folder}\n" in out
    assert "models pull" not in out
    code, out, _ = cuetune("models", "pull", "smollm2-135m")
    assert code == 0
    assert f"smollm2-135m is ready in {folder}\n" in out
    assert fake_pip.calls == []


def test_lists_and_help_do_not_wait_for_torch():
    script = (
        "import sys; from cuetune_catalog.cli import models, data; models.models_list(); data.data_list(); "
        "import cuetune.cli.main; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    paths = os.pathsep.join(path for path in sys.path if path)
    ran = subprocess.run([sys.executable, "-c", script], env={**os.environ, "PYTHONPATH": paths}, capture_output=True)
    assert ran.returncode == 0, ran.stderr.decode()


@pytest.mark.parametrize("name", ["reviews-tweets", "all"])
def test_data_is_pulled_where_it_is_wanted(cuetune, fake_reviews, tmp_path, name, monkeypatch):
    for other in [each for each in DATASETS if not each.startswith("reviews-")]:  # the played pip has the reviews alone
        monkeypatch.delitem(DATASETS, other)
    code, out, err = cuetune("data", "pull", name, "--to", tmp_path / "data")
    assert code == 0, err
    wanted = list(DATASETS) if name == "all" else [name]
    assert sorted(path.stem for path in (tmp_path / "data").iterdir()) == sorted(wanted)
    assert f"next: cuetune check {tmp_path / 'data' / wanted[-1]}.csv\n" in out
    assert "MIT; cite: C.J. Hutto" in out


def test_data_goes_to_the_folder_data_when_none_is_named(cuetune, fake_reviews, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, err = cuetune("data", "pull", "reviews-amazon")
    assert code == 0, err
    assert (tmp_path / "data" / "reviews-amazon.csv").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("models", "pull", "gpt-9"), "'gpt-9' is not a bundled model (known: smollm2-135m"),
        (("data", "pull", "reviews-books"), "no data set 'reviews-books'; choose one of"),
        (("models", "pull", "smollm2-135m"), "the package index could not be reached"),
        (("data", "pull", "reviews-amazon", "--to", "d"), "the package index could not be reached"),
    ],
)
def test_mistakes_and_no_network_are_one_line(cuetune, fake_pip, tmp_path, monkeypatch, words, told):
    monkeypatch.chdir(tmp_path)
    fake_pip.says("WARNING: Retrying (Retry(total=0)) after connection broken by NewConnectionError")
    code, _, err = cuetune(*words)
    assert code == 2
    assert told in err
    assert err.startswith("error: ")
    assert len(err.strip().splitlines()) == 1
    assert not (tmp_path / "d").exists()
