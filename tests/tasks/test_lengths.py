"""`check`: what a model cuts of texts and answers, because of which limit, and which tokens it does not have."""

import json

import pytest
import torch

from chain import chain_model
from cuetune.backbones.loading import load_text_backbone
from cuetune.backbones.outline import load_outline
from cuetune.data.check import check_data
from cuetune.data.row import Example
from cuetune.data.task import Task
from cuetune.prompts import SoftPrompt
from cuetune.tuning.runs import TaskData, TextRun
from cuetune.tuning.settings import Settings
from tiny import encoder, masked_tokenizer, tokenizer, write_csv

FREE = Task(template="Q: {text}\nA:", label_column="answer")
TOLD = Task(template="Q: {text}\nA:", label_column="answer", labels=("a", "b"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model of 128 positions."""
    path, words = tmp_path_factory.mktemp("models") / "short", tokenizer()
    chain_model(len(words), [], ends=words.eos_token_id, positions=128).save_pretrained(path)
    words.save_pretrained(path)
    return path


def found(folder, task, rows):
    outline = load_outline(str(folder))
    examples = [Example(f"row {number}", {"text": text}, answer) for number, (text, answer) in enumerate(rows)]
    return check_data({"train": examples}, task, outline.tokenizer, outline=outline), examples


def test_texts_that_the_positions_cut_are_told_from_those_that_max_tokens_cuts(folder):
    rows = [("x" * 200, "a"), ("y" * 10, "b")]
    report, _ = found(folder, TOLD, rows)
    (long,) = [each for each in report.findings if "texts longer" in each.what]
    assert (long.count, long.examples) == (1, ("row 0 (200 tokens)",))
    assert "the model's 128 positions leave no more" in long.advice
    report, _ = found(folder, Task(**{**TOLD.to_dict(), "max_tokens": 50}), rows)
    (long,) = [each for each in report.findings if "texts longer" in each.what]
    assert (long.what, "raise --max-tokens" in long.advice) == ("texts longer than 50 tokens", True)


@pytest.mark.parametrize("size", [70, 400])
def test_check_names_the_limits_of_the_run(folder, size):
    """The same numbers as `TextRun` works with, for a prompt of the usual length."""
    rows = [("x" * 300, "z" * size), ("y", "zz")]
    report, examples = found(folder, FREE, rows)
    frozen = load_text_backbone(str(folder))
    run = TextRun(frozen, SoftPrompt(torch.zeros(20, frozen.width)), TaskData(FREE, examples), Settings(), 0)
    answers = [each for each in report.findings if "answers longer" in each.what]
    assert sum(each.count for each in answers) == run.cut_answers
    assert report.max_answer == run.readout.max_answer
    assert any(each.what == f"texts longer than {run.renderer.max_text} tokens" for each in report.findings)


def test_check_shows_of_an_answer_what_is_learned(folder, tmp_path, cuetune):
    data = write_csv(tmp_path / "rows.csv", [{"text": "y", "answer": "z" * 400}, {"text": "x", "answer": "q"}])
    code, said, _ = cuetune("check", data, "--generate", "--label", "answer", "--model", folder)
    assert (code, "answers longer than" in said) == (0, True)
    report = json.loads(cuetune("check", data, "--generate", "--label", "answer", "--model", folder, "--json")[1])
    assert said.count("[z]") <= report["max_answer"]
    assert f"cut behind {report['max_answer']} tokens" in said


def test_check_finds_tokens_that_the_model_has_no_embedding_for(tmp_path, cuetune):
    words, path = tokenizer(), tmp_path / "extended"
    chain_model(len(words), []).save_pretrained(path)
    words.add_tokens(["brandnewword"])
    words.save_pretrained(path)
    table = [{"text": f"x {number}", "label": "ab"[number % 2]} for number in range(12)]
    assert cuetune("check", write_csv(tmp_path / "fine.csv", table), "--model", path)[0] == 0
    table[3]["text"] = "the brandnewword"
    data = write_csv(tmp_path / "rows.csv", table)
    code, said, _ = cuetune("check", data, "--model", path, "--json")
    (error,) = [each for each in json.loads(said)["findings"] if each["severity"] == "error"]
    assert (code, error["count"]) == (1, 1)
    assert "rows.csv, row 4, column 'text': token 'brandnewword'" in error["examples"][0]
    assert cuetune("check", data, "--model", path)[0] == 1
    how = ("--steps", 1, "--length", 2, "--no-baselines", "--test", data, "--model", path)
    code, said, noted = cuetune("tune", tmp_path / "fine.csv", "--to", tmp_path / "p", *how)
    assert code != 0
    assert "row 4, column 'text': token 'brandnewword' has number" in noted
    assert not (tmp_path / "p").exists()  # found in the test rows, before anything is tuned


def test_an_encoder_has_room_for_its_mask(tmp_path):
    encoder("bert").save_pretrained(tmp_path)
    masked_tokenizer().save_pretrained(tmp_path)
    outline = load_outline(str(tmp_path))
    assert (outline.kind, outline.max_positions, outline.causal, outline.writes) == ("encoder", 128, False, False)
