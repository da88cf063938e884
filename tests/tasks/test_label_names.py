"""Names of labels: spellings of one, their order, the words beside them, and commas in them."""

import json

import pandas
import pytest

from cuetune.cli.parsing import as_list
from cuetune.data.reading import read_rows
from cuetune.data.row import Row
from cuetune.data.task import Task
from cuetune.data.task_inference import describe, infer_task
from cuetune.errors import CuetuneError


def rows(*labels):
    return [Row(f"rows[{n}]", {"text": f"text {n}", "label": label}) for n, label in enumerate(labels)]


def test_numbers_stand_by_value():
    task = infer_task(
        rows(*range(1, 11)), label_words=["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
    )
    assert task.labels == tuple(map(str, range(1, 11)))
    assert dict(zip(task.labels, task.label_words, strict=True))["10"] == "ten"
    assert "  '10' scored as 'ten'" in describe(task)
    assert infer_task(rows("-1", "0.5", "10", "2")).labels == ("-1", "0.5", "2", "10")


def test_labels_that_are_given_keep_their_order():
    task = infer_task(rows("b", "a", "c"), labels=["c", "a", "b"], label_words=["see", "ay", "bee"])
    assert dict(zip(task.labels, task.label_words, strict=True)) == {"c": "see", "a": "ay", "b": "bee"}


@pytest.mark.parametrize("words", [["b=bad", "g=good"], {"b": "bad", "g": "good"}, ["g=good", "b=bad"]])
def test_pairs_of_label_and_word(words):
    task = infer_task(rows("g", "b"), label_words=words)
    assert dict(zip(task.labels, task.label_words, strict=True)) == {"b": "bad", "g": "good"}


def test_pairs_where_labels_hold_equals_signs_and_some_keep_their_names():
    task = infer_task(rows("a", "a=b", "c"), label_words=["a=b=both", "a=one"])
    assert dict(zip(task.labels, task.label_words, strict=True)) == {"a": "one", "a=b": "both", "c": " c"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["g=good", "bad"], "'bad': others are pairs"),
        ({"x": "y"}, "no label 'x'; the labels are 'b', 'g'"),
        (["one"], "2 labels but 1 label words; give one for each, in this order: 'b', 'g'"),
    ],
)
def test_words_that_fit_no_labels(words, said):
    with pytest.raises(CuetuneError, match=said):
        infer_task(rows("g", "b"), label_words=words)


def test_the_whole_pairing_is_printed_where_words_are_given():
    names = [f"label-{n:02}" for n in range(30)]
    lines = describe(infer_task(rows(*names, *names), label_words=[f"word{n}" for n in range(30)]))
    assert sum("scored as" in line for line in lines) == 30


@pytest.mark.parametrize("text", ['"Food, drink",Other', "Food, drink,Other", "Other,Food, drink"])
def test_a_comma_inside_a_label_of_one_option(text):
    task = infer_task(rows("Food, drink", "Other"), labels=as_list([text]))
    assert sorted(task.labels) == ["Food, drink", "Other"]


TRUTH = [True, False, True]


@pytest.mark.parametrize("learned", ["jsonl", "python", "TRUE", "frame"])
@pytest.mark.parametrize("asked", ["jsonl", "python", "TRUE", "frame", "lower", "xlsx"])
def test_truth_values_match_across_formats(tmp_path, learned, asked):
    task = infer_task(list(read_rows(written(tmp_path, learned))))
    found = [task.example(row).label for row in read_rows(written(tmp_path, asked))]
    assert [label.lower() for label in found] == ["true", "false", "true"]
    assert set(found) == set(task.labels)


def written(folder, kind):
    table = [{"text": f"text {n}", "label": value} for n, value in enumerate(TRUTH)]
    if kind == "python":
        return table
    if kind == "frame":
        return pandas.DataFrame(table)
    if kind == "xlsx":
        pytest.importorskip("openpyxl")
        pandas.DataFrame(table).to_excel(folder / "rows.xlsx", index=False)
        return folder / "rows.xlsx"
    path = folder / f"{kind}.{'jsonl' if kind == 'jsonl' else 'csv'}"
    if kind == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in table))
    else:
        spelled = str.upper if kind == "TRUE" else str.lower
        path.write_text("text,label\n" + "".join(f"{row['text']}, {spelled(str(row['label']))}\n" for row in table))
    return path


def test_whole_numbers_match_across_formats():
    task = infer_task(rows(0, 1))
    assert [task.example(row).label for row in rows("1.0", 1.0, "1", " 1")] == ["1"] * 4
    assert infer_task(rows(0.0, 1.0)).labels == ("0", "1")
    assert infer_task(rows("01", "1", "1.10", "1.1")).labels == ("01", "1", "1.1", "1.10")  # codes stay apart


def test_a_saved_label_of_any_spelling_is_still_itself():
    task = Task(labels=(" negative", "TRUE", "True"))
    assert [task.example(row).label for row in rows(" negative", "negative", "True", "TRUE", "true")] == [
        " negative",
        " negative",
        "True",
        "TRUE",
        "TRUE",
    ]
