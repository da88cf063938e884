"""Files that were read rightly and must stay so: encodings, line ends, compression, scripts, awkward labels."""

import gzip
import json

import datasets
import pyarrow
import pyarrow.parquet
import pytest

from cuetune.data.reading import read_rows
from cuetune.data.task import Task
from cuetune.data.task_inference import infer_task
from cuetune.data.templating import Renderer
from tiny import tokenizer

TEXTS = ["the film was good 0", "the film was bad 1", "a “quoted” café – 2", "two, three; four 3"]
ROWS = [{"text": text, "label": ("pos", "neg")[number % 2]} for number, text in enumerate(TEXTS)]


def table(delimiter=",", end="\n", rows=ROWS):
    return f"text{delimiter}label{end}" + "".join(f'"{row["text"]}"{delimiter}{row["label"]}{end}' for row in rows)


FILES = {
    "bom and semicolons": ("rows.csv", table(";", "\r\n").encode("utf-8-sig"), "utf-8"),
    "CRLF": ("rows.csv", table(end="\r\n").encode(), "utf-8"),
    "CR": ("rows.csv", table(end="\r").encode(), "utf-8"),
    "cp1252": ("rows.csv", table(";").encode("cp1252"), "cp1252"),
    "gzip": ("rows.csv.gz", gzip.compress(table().encode()), "utf-8"),
    "JSON list": ("rows.json", json.dumps(ROWS).encode(), "utf-8"),
    "indented JSON list with a mark": ("rows.json", json.dumps(ROWS, indent=1).encode("utf-8-sig"), "utf-8"),
    "JSON lines": ("rows.jsonl", "".join(json.dumps(row) + "\n" for row in ROWS).encode(), "utf-8"),
}


@pytest.mark.parametrize("kind", FILES)
def test_ordinary_files_stay_right(tmp_path, kind):
    name, content, encoding = FILES[kind]
    (tmp_path / name).write_bytes(content)
    rows = list(read_rows(tmp_path / name, encoding=encoding))
    assert [dict(row.values) for row in rows] == ROWS
    assert infer_task(rows).labels == ("neg", "pos")


def test_parquet_with_dictionaries_and_a_dataset_dict_stay_right(tmp_path):
    labels = pyarrow.array([row["label"] for row in ROWS]).dictionary_encode()
    pyarrow.parquet.write_table(pyarrow.table({"text": TEXTS, "label": labels}), tmp_path / "rows.parquet")
    datasets.DatasetDict(train=datasets.Dataset.from_list(ROWS)).save_to_disk(str(tmp_path / "dd"))
    for source in (tmp_path / "rows.parquet", tmp_path / "dd"):
        assert [dict(row.values) for row in read_rows(source)] == ROWS


def test_prompts_with_completions_and_truth_values_stay_right(tmp_path):
    pairs = [{"prompt": row["text"], "completion": " " + row["label"]} for row in ROWS]
    task = infer_task(list(read_rows(pairs)))
    assert task.fields == ("prompt",)
    assert task.label_words == (" neg", " pos")
    assert [task.example(row).label.strip() for row in read_rows(pairs)] == [row["label"] for row in ROWS]
    truths = list(read_rows([{"text": row["text"], "label": row["label"] == "pos"} for row in ROWS]))
    assert infer_task(truths).labels == ("False", "True")


LABELS = {
    "scripts": ["正面", "سلبي", "😀", "négatif", "अच्छा"],
    "awkward": ["Food, drink", "C++/C#", "R&D <eos>", "{x}", "a=b", 'say "hi"'],
}


@pytest.mark.parametrize("kind", LABELS)
@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_labels_and_texts_of_all_scripts_stay_right(tmp_path, kind, ending):
    path = tmp_path / f"rows.{ending}"
    rows = [
        {"text": f"这部电影 فيلم 👍🏽 मज़ेदार {label} {n}", "label": label} for n in range(2) for label in LABELS[kind]
    ]
    if ending == "csv":
        import csv

        with path.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, ["text", "label"])
            writer.writeheader()
            writer.writerows(rows)
    else:
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    found = list(read_rows(path))
    assert [dict(row.values) for row in found] == rows
    task = infer_task(found)
    assert task.labels == tuple(sorted(LABELS[kind]))
    assert [task.example(row).label for row in found] == [row["label"] for row in rows]


def test_texts_of_tens_of_thousands_of_tokens_stay_right(tmp_path):
    path = tmp_path / "rows.csv"
    long = " ".join(["the film was good"] * 8000)
    path.write_text(f"text,label\n{long},pos\nshort,neg\n")
    rows = list(read_rows(path))
    assert rows[0].values["text"] == long
    task = Task(labels=("neg", "pos"))
    first, second = Renderer(tokenizer(), task).render([task.example(row) for row in rows])
    assert first.cut > 30_000
    assert second.cut == 0
