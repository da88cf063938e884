"""Positions that are kept free: what an answer really takes beside a text, and nothing where another stack reads it."""

import pytest
import torch

from cuetune.data.row import Example
from cuetune.data.task import Task
from cuetune.prediction.text import Predictor
from cuetune.prompts import SoftPrompt
from cuetune.readouts import readout_for
from cuetune.tuning.runs import TaskData, TextRun
from cuetune.tuning.settings import Settings
from tiny import backbone, encoder_decoder_backbone

MANY = tuple(f"class {number} of many" for number in range(60))  # a tree of far more nodes than the model has positions


def run_of(frozen, task: Task, label: str) -> TextRun:
    rows = [Example("row", {"text": "x" * 2000}, label)]
    task = Task(**{**task.to_dict(), "max_tokens": 10_000})
    return TextRun(frozen, SoftPrompt(torch.zeros(3, frozen.width)), TaskData(task, rows), Settings(), 0)


def longest_row(frozen, task: Task, label: str) -> int:
    run = run_of(frozen, task, label)
    return run.n_tokens + len(run.renderer.shared) + len(run.rows[0].ids)


@pytest.mark.parametrize("scoring", ["walk", "vocabulary"])
@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_label_words_take_the_positions_of_the_longest_and_not_of_all(family, scoring):
    frozen, task = backbone(family), Task(labels=MANY, scoring=scoring, max_tokens=10_000)
    readout = readout_for(frozen, task)
    longest = max(map(len, readout.words)) - 1
    assert readout.n_answer == longest if scoring == "vocabulary" else 0 < readout.n_answer <= longest
    assert longest_row(frozen, task, MANY[0]) == frozen.max_positions - readout.n_answer
    predictor = Predictor(frozen, task, SoftPrompt(torch.zeros(3, frozen.width)))
    (answer,) = predictor.predict([Example("row", {"text": "x" * 2000}, None)])
    assert (answer.cut > 0, len(answer.probabilities)) == (True, len(MANY))


@pytest.mark.parametrize("labels", [MANY, ()])
def test_an_encoder_keeps_no_positions_for_what_the_decoder_reads(labels):
    frozen = encoder_decoder_backbone("bart")
    assert longest_row(frozen, Task(labels=labels), MANY[0]) == frozen.max_positions
