"""Rows as other tools write them: Alpaca's instructions, fastText's lines, names in any case, lists of labels."""

import pytest

from cuetune.data.reading import read_rows
from cuetune.data.task_inference import infer_task
from cuetune.errors import CuetuneError


def test_alpaca_text_is_instruction_and_input():
    table = [
        {"instruction": "Say the opposite.", "input": "hot", "output": "cold"},
        {"instruction": "Name a color.", "input": "", "output": "red"},
        {"instruction": "Name a fruit.", "input": None, "output": "fig"},
    ]
    rows = list(read_rows(table))
    task = infer_task(rows, generate=True)
    texts = ["Say the opposite.\n\nhot", "Name a color.", "Name a fruit."]
    assert [list(task.example(row).fields.values()) for row in rows] == [[text] for text in texts]
    assert [task.example(row).label for row in rows] == ["cold", "red", "fig"]
    assert infer_task(rows, text="input", generate=True).fields == ("input",)


@pytest.mark.parametrize("options", [{}, {"text": "TEXT", "label": "Label"}, {"template": "{text}:", "label": "label"}])
def test_columns_are_found_in_any_case(options):
    rows = list(read_rows([{"Text": f"film {n}", "LABEL": "ab"[n % 2], "note": "n"} for n in range(4)]))
    task = infer_task(rows, **options)
    assert task.label_column == "LABEL"
    assert list(task.example(rows[1]).fields.values()) == ["film 1"]


def test_case_decides_between_columns_that_differ_in_it_alone():
    rows = list(read_rows([{"Text": "x", "TEXT": "y", "label": "ab"[n % 2]} for n in range(4)]))
    with pytest.raises(CuetuneError, match="no column 'text'"):
        infer_task(rows, text="text")


def test_column_of_lists_is_proposed_as_label():
    rows = list(read_rows([{"text": f"film {n}", "tags": ["a", "b"][: n % 3]} for n in range(6)]))
    with pytest.raises(CuetuneError, match="'tags' holds lists.*pass --label tags"):
        infer_task(rows)
    assert infer_task(rows, label="tags").kind == "multi-label"


def test_fasttext_lines_have_text_and_label(tmp_path):
    path = tmp_path / "train.txt"
    path.write_text("__label__good a film, fine\n\n__label__bad dull\n")
    rows = list(read_rows(path))
    assert [row.values for row in rows] == [
        {"text": "a film, fine", "label": "good"},
        {"text": "dull", "label": "bad"},
    ]
    assert infer_task(rows).labels == ("bad", "good")
    path.write_text("__label__good a film\n__label__bad __label__long dull\n")
    rows = list(read_rows(path))
    assert [row.values["label"] for row in rows] == [["good"], ["bad", "long"]]
    assert infer_task(rows).kind == "multi-label"
