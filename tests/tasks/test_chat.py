"""Conversations as rows: OpenAI's messages, ShareGPT's, conversational prompt and completion, parts of content."""

import json

import datasets
import pytest

from cuetune.data.reading import read_rows
from cuetune.data.task_inference import infer_task
from cuetune.errors import CuetuneError

USER, ANSWER = {"role": "user", "content": "good film"}, {"role": "assistant", "content": "positive"}
OTHER = [{"role": "user", "content": "bad film"}, {"role": "assistant", "content": "negative"}]
SHAPES = {
    "messages": ({"messages": [USER, ANSWER]}, "good film"),
    "conversations": (
        {"conversations": [{"from": "human", "value": "good film"}, {"from": "gpt", "value": "positive"}]},
        "good film",
    ),
    "prompt and completion": ({"prompt": [USER], "completion": [ANSWER]}, "good film"),
    "parts": (
        {
            "messages": [
                {"role": role, "content": [{"type": "text", "text": text}]}
                for role, text in (("user", "good film"), ("assistant", "positive"))
            ]
        },
        "good film",
    ),
    "system": ({"messages": [{"role": "system", "content": "Judge."}, USER, ANSWER]}, "Judge.\n\ngood film"),
    "turns": ({"messages": [*OTHER, USER, ANSWER]}, "User: bad film\nAssistant: negative\nUser: good film"),
}


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("source", ["jsonl", "parquet", "memory"])
def test_what_is_said_before_the_answer_is_the_text(tmp_path, kind, source):
    row, text = SHAPES[kind]
    if source == "jsonl":
        data = tmp_path / "rows.jsonl"
        data.write_text(json.dumps(row) + "\n")
    elif source == "parquet":
        data = tmp_path / "rows.parquet"
        datasets.Dataset.from_list([row]).to_parquet(data)
    else:
        data = [row]
    (found,) = read_rows(data)
    assert found.values["prompt"] == text
    assert found.values["completion"] == "positive"


def test_a_task_of_conversations():
    rows = list(read_rows([{"messages": [USER, ANSWER]}, {"messages": OTHER}]))
    task = infer_task(rows)
    assert task.labels == ("negative", "positive")
    assert [task.example(row).label for row in rows] == ["positive", "negative"]
    (unanswered,) = read_rows([{"messages": [USER]}])
    assert task.example(unanswered, labelled=False).fields == {"prompt": "good film"}
    with pytest.raises(CuetuneError, match="no column 'completion'"):
        task.example(unanswered)


@pytest.mark.parametrize("row", [{"text": "a", "messages": [USER, ANSWER]}, {"messages": ["a"]}, {"messages": "a"}])
def test_other_rows_stay_as_they_are(row):
    assert [found.values for found in read_rows([row])] == [row]


def test_parts_of_objects_are_named_and_never_read_as_their_code():
    rows = [{"text": {"en": f"good {n}", "fr": "bon"}, "label": "xy"[n % 2]} for n in range(4)]
    with pytest.raises(
        CuetuneError, match=r"holds objects with 'text.en', 'text.fr'; name one, e.g. with --text text.en"
    ):
        infer_task(list(read_rows(rows)))
    task = infer_task(list(read_rows(rows)), text="text.fr")
    assert task.example(next(read_rows(rows))).fields == {"text": "bon"}
    alone = [{**row, "text": {"en": row["text"]["en"]}} for row in rows]
    assert infer_task(list(read_rows(alone))).columns == {"text": "text.en"}
    asked = infer_task(list(read_rows([{"text": f"a {n}", "label": "xy"[n % 2]} for n in range(4)])))
    with pytest.raises(CuetuneError, match="'text': a dict and no text; name a text in it, e.g. --text text.en"):
        asked.example(next(read_rows(rows)))
    for cell in (["a", "b"], b"bytes"):
        with pytest.raises(CuetuneError, match="and no text"):
            asked.example(next(read_rows([{"text": cell, "label": "x"}])))


def test_answers_inside_lists_and_objects():
    rows = [{"question": "who?", "answers": {"text": ["me", "I"], "answer_start": [1, 2]}}]
    task = infer_task(list(read_rows(rows)), label="answers.text.0", generate=True)
    assert task.example(next(read_rows(rows))).label == "me"
