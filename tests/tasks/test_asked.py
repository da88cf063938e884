"""Of which kind a task is, told from rows; and what is said where it is not clear."""

import itertools

import pandas
import pytest

from cuetune.data.reading import read_rows
from cuetune.data.task_inference import describe, infer_task
from cuetune.errors import CuetuneError


def infer(table, **options):
    rows = table if isinstance(table, pandas.DataFrame) else [{"text": f"t{n}", **row} for n, row in enumerate(table)]
    return infer_task(list(read_rows(rows)), **options)


def cells(column, *values, times=1):
    return [{column: value} for value in values * times]


SETS = ["good", "bad", "good, long", "bad, long", "", "long"]


@pytest.mark.parametrize(
    "table",
    [
        cells("labels", ["good"], ["bad", "long"], []),
        cells("labels", *SETS),
        cells("label", "good|long", "bad", "good", "long|bad", "long"),
        cells("label", "good; long", "bad", "good", "long;bad", "long"),
        cells("labels", "['good']", "['bad', 'long']", "[]"),
        cells("labels", '["good", "bad"]', '["long"]'),
    ],
)
def test_several_labels_are_recognised(table):
    task = infer(table)
    assert (task.answers.kind, task.labels) == ("multi-label", ("bad", "good", "long"))
    assert any("multi-label" in line for line in describe(task))


def test_lists_of_a_data_frame_and_of_parquet(tmp_path):
    frame = pandas.DataFrame({"text": ["x", "y", "z"], "labels": [["a"], ["b", "a"], []]})
    frame.to_parquet(tmp_path / "rows.parquet")
    for source in (frame, tmp_path / "rows.parquet"):
        rows = list(read_rows(source))
        task = infer_task(rows)
        assert [task.example(row).label for row in rows] == [("a",), ("a", "b"), ()]


def test_columns_of_yes_and_no_are_labels_where_nothing_else_is():
    table = [{"toxic": str(n % 2), "insult": "0", "threat": "1"} for n in range(4)]
    task = infer(table)
    assert (task.answers.kind, task.labels, task.label_columns) == ("multi-label", *[("toxic", "insult", "threat")] * 2)
    assert "--labels-from" not in "".join(describe(task))
    beside = infer([{**row, "label": ("x", "y")[n % 2]} for n, row in enumerate(table)])
    assert (beside.answers.kind, beside.labels) == ("classification", ("x", "y"))
    some = infer([{**row, "label": "x"} for row in table], labels_from=["toxic", "threat"])
    assert some.label_columns == ("toxic", "threat")


@pytest.mark.parametrize(
    "values",
    [
        ["Food, drink", "Clothes, shoes", "Food, drink", "Garden"],  # the parts never come alone
        ["sports, UK", "sports, US", "politics, UK", "politics, US", "food, UK", "food, US"],
        ["C++/C#", "R&D", "a;b"],
        ["3,5", "4,5", "3", "4", "5"],
        [1, 2, 3, 4, 5],
        ["[a]", "[b]"],
    ],
)
def test_labels_with_commas_and_other_signs_stay_labels(values):
    task = infer(cells("label", *values, times=4))
    assert (task.answers.kind, set(task.labels)) == ("classification", {str(value) for value in values})


def test_what_is_asked_for_wins():
    ambiguous = cells("label", "sports, UK", "sports, US", "food, UK")
    assert infer(ambiguous, label_delimiter=",").labels == ("UK", "US", "food", "sports")
    assert infer(ambiguous, kind="multi-label").labels == ("UK", "US", "food", "sports")
    assert infer(cells("labels", *SETS), kind="classification", labels=SETS[:-2] + ["long"]).label_delimiter == ""
    assert infer(cells("label", "a", "b", times=3), kind="multi-label").answers.kind == "multi-label"
    assert infer(cells("label", 1, 2, 5), kind="regression").answers.kind == "regression"
    scores = cells("label", *[n / 2 for n in range(11)], times=3)
    assert infer(scores, kind="classification").answers.kind == "classification"
    assert infer(scores, generate=True).generates
    assert infer(scores, kind="generation").generates


@pytest.mark.parametrize("column", ["label", "score", "rating"])
def test_numbers_with_many_values_are_numbers(column):
    task = infer(cells(column, *[str(n / 2) for n in range(11)], times=2))
    assert (task.answers.kind, task.label_column, task.labels) == ("regression", column, ())
    assert any("regression" in line and "--task classification" in line for line in describe(task))


def test_whole_numbers_and_few_numbers_stay_labels():
    assert infer(cells("label", *range(10), times=3)).labels == tuple(map(str, range(10)))
    assert infer(cells("label", 0.5, 1.0, 1.5, times=3)).answers.kind == "classification"
    with pytest.raises(CuetuneError, match="numbers; pass --task regression"):
        infer(cells("label", *range(100)))


@pytest.mark.parametrize(
    ("table", "options", "said"),
    [
        (cells("label", "a", "b"), {"kind": "ranking"}, "unknown kind of task 'ranking'"),
        (cells("label", "a", "b"), {"kind": "regression", "labels_from": ["x"]}, "--labels-from is for several labels"),
        (cells("label", "a", "b"), {"labels_from": ["x", "y"]}, "--labels-from: no column 'x'"),
        (cells("label", 1, 2), {"kind": "regression", "labels": ["1"]}, "leave one"),
        (cells("label", [], []), {}, "no row has a label"),
        (cells("label", "a", "b"), {"kind": "regression", "generate": True}, "leave one"),
    ],
)
def test_what_does_not_go_together_is_said(table, options, said):
    with pytest.raises(CuetuneError, match=said):
        infer(table, **options)


def test_examples_of_a_task_are_those_of_the_rows():
    table = cells("labels", *SETS)
    task = infer(table)
    rows = list(read_rows([{"text": "x", **row} for row in table]))
    found = [task.example(row).label for row in rows]
    assert found == [("good",), ("bad",), ("good", "long"), ("bad", "long"), (), ("long",)]
    assert all(set(one) <= set(task.labels) for one in itertools.chain(found))


@pytest.mark.parametrize(
    ("values", "labels", "columns"),
    [
        ([[0, 1, 1], [0, 0, 1], [1, 0, 0]], ("tags.0", "tags.1", "tags.2"), ("tags.0", "tags.1", "tags.2")),
        ([{"a": True, "b": False}, {"a": False, "b": True}], ("a", "b"), ("tags.a", "tags.b")),
        ([{"a": 1, "b": 0}, {"b": 1, "a": 0}], ("a", "b"), ("tags.a", "tags.b")),
    ],
)
def test_places_of_yes_and_no_in_one_cell_are_labels(values, labels, columns):
    table = cells("tags", *values, times=3)
    task = infer(table, label="tags")
    assert (task.answers.kind, task.labels, task.label_columns) == ("multi-label", labels, columns)
    rows = list(read_rows([{"text": "x", **row} for row in table[: len(values)]]))
    places = [cell.values() if isinstance(cell, dict) else cell for cell in values]
    first = task.example(rows[0]).label
    assert first == tuple(label for label, said in zip(labels, places[0], strict=True) if said)
    named = infer(table, label="tags", labels=[f"n{number}" for number in range(len(labels))])
    assert named.labels[0] == "n0"
    assert named.label_columns == columns
    assert infer(table, labels_from=columns).label_columns == columns


def test_lists_of_names_that_are_0_and_1_stay_names():
    assert infer(cells("labels", [0], [1], [0, 1], [])).labels == ("0", "1")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (["[0, 1, 1]", "[0, 0, 1]"], "a place of 0 or 1 for each label"),
        ([{"a": 0.5, "b": 2}], "labels are objects"),
        ([{"a": 1, "b": 0}, {"a": 1}], "labels are objects"),
        ([{"a": "one", "b": "two"}], "holds objects with 'tags.a', 'tags.b'"),
    ],
)
def test_cells_that_hold_something_else_than_labels_are_refused(values, said):
    with pytest.raises(CuetuneError, match=said):
        infer(cells("tags", *values, times=3), label="tags")


def test_the_only_text_of_an_object_is_the_label_where_its_column_is_named_too():
    task = infer(cells("meta", {"kind": "a"}, {"kind": "b"}, times=3), label="meta")
    assert (task.label_column, task.labels) == ("meta.kind", ("a", "b"))


@pytest.mark.parametrize(("yes", "no"), [("1.0", "0.0"), (1.0, 0.0), ("Y", "N"), ("t", "f")])
def test_other_spellings_of_yes_and_no(yes, no):
    table = [{"a": yes, "b": no}, {"a": no, "b": yes}]
    rows = list(read_rows([{"text": "x", **row} for row in table]))
    assert [infer(table, labels_from=["a", "b"]).example(row).label for row in rows] == [("a",), ("b",)]


def test_a_column_of_numbers_with_some_other_cells_says_regression():
    with pytest.raises(CuetuneError, match="numbers beside others such as 'n/a'; pass --task regression"):
        infer(cells("label", *[str(n / 2) for n in range(40)], "n/a"))
