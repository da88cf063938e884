"""Answers: every column of every row is there, none is replaced, and names of the answers' columns are free."""

import csv
import json

import pytest

from cuetune.answers.prediction import Prediction
from cuetune.cli.writing import answer_writer, free_names
from cuetune.data.row import Row
from cuetune.data.task import Task

TASK = Task(labels=("neg", "pos"))
ANSWER = Prediction("row 1", "pos", (0.25, 0.75))


def written(path, rows, answer=ANSWER, task=TASK):
    with answer_writer(path, task) as write:
        for number, row in enumerate(rows):
            write(Row(f"row {number + 1}", row), answer)
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()], write
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream, delimiter="\t" if path.suffix == ".tsv" else ",")), write


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".jsonl"])
@pytest.mark.parametrize("taken", ["predicted", "p(neg)", "p(pos)"])
def test_a_column_of_the_rows_that_is_called_as_an_answers_is_kept(tmp_path, ending, taken):
    (row,), write = written(tmp_path / f"a{ending}", [{"text": "x", taken: "mine"}])
    assert row[taken] == "mine"
    assert row["predicted_2"] == "pos"
    assert float(row["p(pos)_2"]) == 0.75
    assert write.names["predicted"] == "predicted_2"


def test_answers_of_answers_of_answers(tmp_path):
    rows = [{"text": "x"}]
    for number in range(3):
        rows, _ = written(tmp_path / f"{number}.csv", rows)
    answers = ("predicted", "p(neg)", "p(pos)")
    assert list(rows[0]) == ["text", *(name + number for number in ("", "_2", "_3") for name in answers)]


LATER = [{"text": 'a "b", c\nd'}, {"text": "x" * 200_000, "id": 7}, {"id": 8, "text": "z"}]
LATER[2] |= {"predicted": "mine", "ü": [1]}


@pytest.mark.parametrize("ending", [".csv", ".tsv"])
def test_columns_that_only_later_rows_have_reach_the_table(tmp_path, ending):
    limit = csv.field_size_limit(131_072)
    path = tmp_path / f"a{ending}"
    with pytest.raises(csv.Error):
        written(path, LATER)  # the reader of this test, which has the usual limit
    csv.field_size_limit(1_000_000)
    try:
        rows, _ = written(path, LATER)
        assert csv.field_size_limit() == 1_000_000
    finally:
        csv.field_size_limit(limit)
    assert list(rows[0]) == ["text", "id", "predicted", "ü", "predicted_2", "p(neg)_2", "p(pos)_2"]
    assert [row["text"] for row in rows] == [row["text"] for row in LATER]
    assert [row["id"] for row in rows] == ["", "7", "8"]
    assert [row["predicted"] for row in rows] == ["", "", "mine"]
    assert [row["ü"] for row in rows] == ["", "", "[1]"]
    assert {row["predicted_2"] for row in rows} == {"pos"}
    assert None not in rows[0].values()


def test_a_name_that_only_a_later_row_takes_is_changed_in_all_lines(tmp_path):
    rows, _ = written(tmp_path / "a.jsonl", [*LATER, {"predicted_2": "mine too"}, {"text": "end"}])
    assert [row["predicted_3"] for row in rows] == ["pos"] * 5
    assert [row.get("predicted") for row in rows] == [None, None, "mine", None, None]
    assert [row.get("predicted_2") for row in rows] == [None, None, None, "mine too", None]
    assert [row.get("text") for row in rows] == [row.get("text") for row in [*LATER, {}, {"text": "end"}]]


def test_usual_answers_are_written_once_and_stay_as_they_were(tmp_path):
    rows, write = written(tmp_path / "a.csv", [{"text": "x", "label": "neg"}, {"text": "y"}])
    assert list(rows[0]) == ["text", "label", "predicted", "p(neg)", "p(pos)"]
    lines = ["text,label,predicted,p(neg),p(pos)", "x,neg,pos,0.25,0.75", "y,,pos,0.25,0.75", ""]
    assert (tmp_path / "a.csv").read_bytes().decode() == "\r\n".join(lines)
    assert write.names["predicted"] == "predicted"
    assert free_names(["predicted"], ["Predicted"]) == {"predicted": "predicted"}
