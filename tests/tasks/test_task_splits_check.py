"""Inference of the task, splits and the data check."""

import os
import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cuetune.data.check import check_data
from cuetune.data.reading import read_rows
from cuetune.data.row import Example, Row
from cuetune.data.splits import fingerprint, split_examples, text_key
from cuetune.data.task import Task
from cuetune.data.task_inference import head_proposal, infer_task
from cuetune.errors import CuetuneError
from tiny import backbone, encoder_decoder_backbone, tokenizer


def infer(table, **options):
    return infer_task(list(read_rows(table)), **options)


def test_columns_labels_template_and_words_are_inferred():
    task = infer([{"id": 1, "review": "a", "sentiment": "neg"}, {"id": 2, "review": "b", "sentiment": "pos"}])
    assert (task.fields, task.label_column, task.labels) == (("review",), "sentiment", ("neg", "pos"))
    assert task.template == "Review: {review}\nSentiment:"
    assert task.label_words == (" neg", " pos")
    assert "neg or pos" in task.instruction


@pytest.mark.parametrize(("labels", "rows"), [(250, 1000), (250, 500), (1000, 3000)])
def test_many_labels_are_labels_where_most_occur_again(labels, rows):
    task = infer([{"text": f"text {n}", "label": f"c {n % labels}"} for n in range(rows)])
    assert len(task.labels) == labels


def test_a_head_is_proposed_for_many_labels():
    few, many = (infer([{"text": f"{n}", "label": f"c {n % labels}"} for n in range(90)]) for labels in (20, 21))
    assert head_proposal(few) == []
    assert head_proposal(many) == [
        "21 labels: above 20 a trained head usually learns more in as many steps; try --readout head"
    ]
    assert head_proposal(many, kind="words") == head_proposal(many, encoder_decoder_backbone("t5")) == []
    assert head_proposal(many, backbone()) == head_proposal(many)


@pytest.mark.parametrize(("repeated", "once"), [(0, 300), (100, 300), (300, 301)])
def test_values_of_which_most_occur_once_are_free_text(repeated, once):
    values = [f"answer {n}" for n in range(repeated)] * 4 + [f"other answer {n}" for n in range(once)]
    with pytest.raises(CuetuneError, match=r"looks like free text; pass --generate"):
        infer([{"text": f"text {n}", "label": value} for n, value in enumerate(values)])


def test_columns_with_odd_names_are_mapped():
    task = infer([{"my text": "a", "y": 1}, {"my text": "b", "y": 0}], text="my text")
    assert task.columns == {"text": "my text"}
    assert task.example(Row("row 0", {"my text": "a", "y": 1.0})) == Example("row 0", {"text": "a"}, "1")


@pytest.mark.parametrize(
    ("table", "options", "said"),
    [
        ([{"a": "x", "b": "y", "label": "l"}, {"a": "x", "b": "y", "label": "m"}], {}, "--text"),
        ([{"a": "x", "b": "y"}], {}, "--label"),
        ([{"text": "x", "label": "l"}] * 3, {}, "one label only"),
        ([{"text": "x", "label": str(n)} for n in range(300)], {}, "--generate"),
        ([{"text": "x", "label": None}, {"text": "x", "label": ""}], {}, "no row has a label"),
        ([{"text": "x", "label": "l"}], {"text": "nope"}, "nope"),
        ([{"text": "x", "label": "a"}, {"text": "x", "label": "b"}], {"label_words": ["one"]}, "label words"),
        ([{"text": "x", "label": "a"}, {"text": "x", "label": "b"}], {"template": "no field"}, "names no column"),
    ],
)
def test_what_cannot_be_inferred_is_said(table, options, said):
    with pytest.raises(CuetuneError, match=said):
        infer(table, **options)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"label": "a"}, "no column 'text'"),
        ({"text": float("nan"), "label": "a"}, "NaN"),
        ({"text": None, "label": "a"}, "NaN"),
        ({"text": "x", "label": "zz"}, "unknown label 'zz'"),
        ({"text": "x"}, "no column 'label'"),
    ],
)
def test_rows_that_mean_nothing_are_named(values, said):
    task = Task(labels=("a", "b"))
    with pytest.raises(CuetuneError, match=said) as raised:
        task.example(Row("rows.csv, row 7", values))
    assert "rows.csv, row 7" in str(raised.value)


def test_a_task_survives_json():
    task = Task(template="A: {a}\nB: {b}", labels=("x", "y z"), columns={"a": "first"}, instruction="Do.")
    assert Task.from_dict(task.to_dict()) == task


def make(n: int, labels: int = 3, copies: int = 0) -> list[Example]:
    rows = [Example(f"row {i}", {"text": f"text {i}"}, f"l{i % labels}") for i in range(n)]
    return rows + [Example(f"copy {i}", {"text": f"TEXT  {i}"}, f"l{i % labels}") for i in range(copies)]


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.integers(6, 200), st.integers(2, 5), st.integers(0, 20), st.integers(0, 3))
def test_splits_partition_stratify_and_leak_nothing(n, labels, copies, seed):
    rows = make(n, labels, min(copies, n))
    splits = split_examples(rows, validation=0.1, test=0.2, seed=seed)
    parts = [splits.train, splits.validation, splits.test]
    assert sorted(e.where for part in parts for e in part) == sorted(e.where for e in rows)
    keys = [{text_key(e) for e in part} for part in parts]
    assert sum(map(len, keys)) == len(keys[0] | keys[1] | keys[2])
    whole = Counter(e.label for e in make(n, labels))
    unique_test = {text_key(e): e.label for e in splits.test}
    for label, count in whole.items():
        assert abs(Counter(unique_test.values())[label] - 0.2 * count) <= 1
        assert any(e.label == label for e in splits.train)


def test_splits_do_not_depend_on_the_hash_seed():
    code = (
        "from cuetune.data.splits import *; from cuetune.data.task import Example\n"
        "rows = [Example(f'row {i}', {'text': f'text {i}'}, f'l{i % 3}') for i in range(50)]\n"
        "s = split_examples(rows, seed=3); print([e.where for e in s.train], fingerprint(s.test))"
    )
    said = {
        subprocess.check_output([sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": seed})
        for seed in ("1", "2")
    }
    assert len(said) == 1


def test_free_text_is_split_without_labels():
    rows = [Example(f"row {i}", {"text": f"t{i}"}, f"answer {i}") for i in range(100)]
    splits = split_examples(rows, stratify=False)
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (70, 10, 20)


def test_the_fingerprint_knows_rows_and_not_their_order():
    rows = make(20)
    assert fingerprint(rows) == fingerprint(rows[::-1])
    assert fingerprint(rows) != fingerprint(rows[1:])
    assert fingerprint(rows) != fingerprint([*rows[1:], Example("", {"text": "text 0"}, "l1")])


def found(report) -> dict[str, int]:
    return {finding.what.split(" than")[0]: finding.count for finding in report.findings}


def test_check_finds_what_spoils_a_task():
    train = [
        *make(30, 2),
        Example("r1", {"text": "  TEXT 0"}, "l0"),
        Example("r2", {"text": "text 1"}, "l0"),
        Example("r3", {"text": " "}, "l0"),
        Example("r4", {"text": "word " * 50}, "rare"),
    ]
    test = [Example("t1", {"text": "text 4"}, "l0")]
    task = Task(labels=("l0", "l1", "rare"), max_tokens=40)
    report = check_data({"train": train, "test": test}, task, tokenizer())
    assert found(report) == {
        "texts that stand in two parts": 1,
        "texts with different labels": 1,
        "rows without text": 1,
        "copies of the same text in one part": 2,
        "texts longer": 1,
        "labels with fewer": 1,
    }
    assert not report.ok
    assert report.rows == {"train": 34, "test": 1}
    leak = next(f for f in report.findings if "two parts" in f.what)
    assert leak.examples == ("row 4 and t1",)


def test_check_is_content_with_clean_data():
    report = check_data({"train": make(30)}, Task(labels=("l0", "l1", "l2")), tokenizer())
    assert report.ok
    assert report.findings == []
    assert report.labels == {"l0": 10, "l1": 10, "l2": 10}
