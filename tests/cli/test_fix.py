"""`cuetune fix` on the command line: correct, look, use, take back; mistakes in its use as one line."""

import csv

import pytest
import torch

from cuetune.data.task import Task
from cuetune.library.tuned import TunedPrompt
from cuetune.prompts import SoftPrompt
from tiny import backbone, folder, rows, write_csv

HERE = ("--model", folder(), "--dtype", "float32")


@pytest.fixture
def made(tmp_path):
    """A saved prompt."""
    start = 0.3 * torch.randn(4, 32, generator=torch.Generator().manual_seed(1))
    task = Task(template="Say {text} =", labels=("pos", "neg"), name="mood")
    return TunedPrompt(SoftPrompt(start), task, backbone().identity, {"seed": 3}).save(tmp_path / "mood")


def bytes_of(place):
    return {path.name: path.read_bytes() for path in place.iterdir()}


def test_fix_show_predict_evaluate_and_back(cuetune, made, tmp_path):
    before, data = bytes_of(made), write_csv(tmp_path / "rows.csv", rows(8))
    assert cuetune("predict", made, data, "--to", tmp_path / "answers.csv", *HERE)[0] == 0
    answers = list(csv.DictReader((tmp_path / "answers.csv").open()))
    other = {"pos": "neg", "neg": "pos"}
    wrong = write_csv(
        tmp_path / "my corrections.csv", [{"text": a["text"], "label": other[a["predicted"]]} for a in answers]
    )
    held_out = write_csv(tmp_path / "test.csv", rows(20, 3))
    code, out, err = cuetune("fix", made, wrong, "--eval-data", held_out, *HERE)
    assert code == 0, err
    assert "8 mistakes to correct" in out
    corrected = TunedPrompt.load(made).record["fixes"][0]["corrected"]
    assert f"corrected: {corrected} of 8 mistakes" in out
    assert "20 held-out rows" in out
    assert "before" in out
    assert f"next: rm '{wrong}'" in out
    assert f"cuetune fix {made} --undo" in out
    code, out, err = cuetune("show", made)
    assert code == 0, err
    assert f"{corrected} of 8 mistakes corrected" in out
    card = (made / "README.md").read_text()
    assert "## Corrections" in card
    assert "beside what it was before its last fix" in card
    code, out, err = cuetune("predict", made, wrong, "--to", tmp_path / "again.csv", *HERE)
    assert code == 0, err
    again = list(csv.DictReader((tmp_path / "again.csv").open()))
    assert sum(row["predicted"] == row["label"] for row in again) == corrected >= 7
    code, out, err = cuetune("evaluate", made, held_out, "--no-baselines", *HERE)
    assert code == 0, err
    code, out, err = cuetune("fix", made, "--undo")
    assert code == 0, err
    assert "the last fix is taken back: 4 virtual tokens at the embedding layer" in out
    assert bytes_of(made) == before
    code, _, err = cuetune("fix", made, "--undo")
    assert (code, err.count("\n")) == (2, 1)
    assert "nothing was fixed in it" in err


def test_mistakes_in_its_use_are_one_line(cuetune, made, tmp_path):
    before = bytes_of(made)
    strange = write_csv(tmp_path / "strange.csv", [{"text": "good", "label": "fine"}])
    for words, said in (
        ((), "give a file of corrections, or --undo"),
        ((strange, "--undo"), "give a file of corrections, or --undo"),
        ((tmp_path / "none.csv", *HERE), "none.csv: no such file"),
        ((strange, *HERE), "unknown label 'fine'"),
    ):
        code, _, err = cuetune("fix", made, *words)
        assert (code, err.count("\n")) == (2, 1), err
        assert said in err
        assert bytes_of(made) == before
