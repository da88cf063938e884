"""`cuetune multitask`, `transfer`, `recycle` and `tune --train-rows`: what they print, write and refuse."""

import pytest

import tiny
from cuetune.library.collection import PromptLibrary
from cuetune.library.tuned import TunedPrompt

MODEL = ("--model", tiny.folder(), "--dtype", "float32")
SHORT = ("--steps", 4, "--learning-rate", 0.05)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Two source tasks in a TASKS.yaml, and a target."""
    folder = tmp_path_factory.mktemp("data")
    for number, name in enumerate(("one", "two", "target")):
        tiny.write_csv(folder / f"{name}.csv", tiny.rows(40, number))
    (folder / "TASKS.yaml").write_text(
        "tasks:\n- name: one\n  data: one.csv\n  template: '{text} ='\n- name: two\n  data: two.csv\n"
    )
    return folder


@pytest.fixture
def universal(cuetune, data, tmp_path):
    more = (*MODEL, *SHORT, "--teacher-steps", 2, "--length", 4)
    code, out, err = cuetune("multitask", "train", data / "TASKS.yaml", "--to", tmp_path / "universal", *more)
    assert code == 0, err
    return tmp_path / "universal", out


def test_train_shows_every_task_beside_its_teacher(universal):
    folder, out = universal
    for said in ("teacher", "zero-shot", "a task holds 36 numbers of its own", "next: cuetune multitask adapt"):
        assert said in " ".join(out.split())
    assert {each.name for each in (folder / "tasks").iterdir()} == {"one", "two"}


def test_adapt_to_few_rows_several_times(cuetune, universal, data, tmp_path):
    folder, _ = universal
    more = (*MODEL, *SHORT, "--train-rows", 4, "--draws", 2)
    code, out, err = cuetune("multitask", "adapt", folder, data / "target.csv", "--to", tmp_path / "new", *more)
    assert code == 0, err
    assert "accuracy by draw: " in out
    assert TunedPrompt.load(tmp_path / "new" / "draw-1").record["data"]["rows"]["train"] == 4
    code, _, err = cuetune(
        "multitask", "adapt", folder, data / "target.csv", "--to", tmp_path / "x", "--draws", 2, *MODEL
    )
    assert (code, "say how many with --train-rows" in err) == (2, True)
    code, _, err = cuetune(
        "multitask", "adapt", folder, data / "target.csv", "--to", tmp_path / "x", "--train-rows", 99, *MODEL
    )
    assert (code, "--train-rows 99: target.csv has 28 rows to tune on" in " ".join(err.split())) == (2, True)


def test_transfer_proposes_and_measures(cuetune, universal, data, tmp_path):
    folder, _ = universal
    for task in ("one", "two"):
        PromptLibrary(tmp_path / "library").add(folder / "tasks" / task)
    more = (*MODEL, *SHORT, "--train-rows", 8, "--top", 1, "--from", tmp_path / "library")
    code, out, err = cuetune("transfer", data / "target.csv", "--to", tmp_path / "new", *more)
    assert code == 0, err
    flat = " ".join(out.split())
    for said in ("predicted, then measured", "gain over words", "it started from", "next: cuetune predict"):
        assert said in flat
    assert TunedPrompt.load(tmp_path / "new").prompt.kind == "soft"


def test_recycle_says_how_well_the_words_map(cuetune, universal, tmp_path):
    folder, _ = universal
    code, out, err = cuetune(
        "recycle", folder / "tasks" / "one", "--from-model", tiny.folder(), *MODEL, "--to", tmp_path / "recycled"
    )
    assert code == 0, err
    assert "explains 100%" in out
    assert TunedPrompt.load(tmp_path / "recycled").record["lineage"][0]["relation"] == "moved from"


def test_tune_from_few_rows_and_from_a_universal_prompt(cuetune, universal, data, tmp_path):
    folder, _ = universal
    more = (*MODEL, *SHORT, "--train-rows", 6, "--prompt", "multitask")
    code, _, err = cuetune("tune", data / "target.csv", "--to", tmp_path / "t", "--start", folder, *more)
    assert code == 0, err
    assert TunedPrompt.load(tmp_path / "t").record["lineage"][0]["name"] == "universal"
    code, _, err = cuetune("tune", data / "target.csv", "--to", tmp_path / "u", *more)
    assert (code, "name its folder with --start" in err) == (2, True)


def test_bad_files_are_one_line(cuetune, data, tmp_path):
    (tmp_path / "T.yaml").write_text("tasks:\n- name: a\n  data: gone.csv\n- name: b\n  data: gone.csv\n")
    code, _, err = cuetune("multitask", "train", tmp_path / "T.yaml", "--to", tmp_path / "x", *MODEL)
    assert code == 2
    assert "T.yaml, line 3: task 'a': data: no file" in " ".join(err.split())
    code, _, err = cuetune(
        "multitask", "train", data / "TASKS.yaml", "--mixing", "fair", "--to", tmp_path / "x", *MODEL, "--no-distil"
    )
    assert (code, "unknown mixing 'fair'" in err) == (2, True)
