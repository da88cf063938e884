"""What rows come wrapped in: compressed files, archives, workbooks, JSON documents, Arrow, plain lines."""

import bz2
import gzip
import json
import lzma
import zipfile

import datasets
import numpy as np
import pandas
import pyarrow
import pyarrow.feather
import pytest

from cuetune.data.reading import read_rows, splits_of
from cuetune.data.task import Task
from cuetune.data.task_inference import infer_task
from cuetune.errors import CuetuneError

TABLE = [{"text": f"row {i}", "label": "xy"[i % 2]} for i in range(9)]
CSV = "text,label\n" + "".join(f"{row['text']},{row['label']}\n" for row in TABLE)


def values(source, **options):
    return [dict(row.values) for row in read_rows(source, **options)]


def zstd(content):
    return pyarrow.Codec("zstd").compress(content, asbytes=True)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize(
    ("ending", "packed"), [("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress), ("zst", zstd)]
)
def test_compressed_files_with_and_without_a_byte_order_mark(tmp_path, ending, packed, encoding):
    path = tmp_path / f"rows.csv.{ending}"
    path.write_bytes(packed(CSV.encode(encoding)))
    assert values(path) == TABLE
    (tmp_path / "rows.csv").write_bytes(packed(CSV.encode(encoding)))  # the bytes decide
    assert values(tmp_path / "rows.csv") == TABLE


@pytest.mark.parametrize("orient", ["records", "columns", "index", "split", "table"])
def test_json_as_pandas_writes_it(tmp_path, orient):
    path = tmp_path / "rows.json"
    pandas.DataFrame(TABLE).to_json(path, orient=orient)
    found = [{key: row[key] for key in ("text", "label")} for row in values(path)]
    assert found == TABLE


@pytest.mark.parametrize(
    "document",
    [
        {"version": "1", "data": TABLE},
        {"data": TABLE, "note": "of 2024"},
        {"rows": TABLE},
        {"text": [row["text"] for row in TABLE], "label": [row["label"] for row in TABLE]},
    ],
)
@pytest.mark.parametrize("indent", [None, 1])
def test_json_documents_that_hold_a_table(tmp_path, document, indent):
    path = tmp_path / "rows.json"
    path.write_text(json.dumps(document, indent=indent), encoding="utf-8-sig")
    assert values(path) == TABLE


def test_one_object_alone_is_a_row(tmp_path):
    (tmp_path / "rows.json").write_text('{"text": "a", "label": "b"}\n')
    assert values(tmp_path / "rows.json") == [{"text": "a", "label": "b"}]


@pytest.mark.parametrize("inside", ["rows.csv", "deep/folder/rows.csv", "rows.jsonl", "rows.parquet"])
def test_a_zip_file_of_one_file(tmp_path, inside):
    file = tmp_path / "content"
    if inside.endswith("csv"):
        file.write_text(CSV)
    elif inside.endswith("jsonl"):
        file.write_text("".join(json.dumps(row) + "\n" for row in TABLE))
    else:
        pandas.DataFrame(TABLE).to_parquet(file)
    with zipfile.ZipFile(tmp_path / "rows.zip", "w") as archive:
        archive.write(file, inside)
        archive.writestr("__MACOSX/._rows.csv", "junk")
        archive.writestr("README.md", "about")
    assert values(tmp_path / "rows.zip") == TABLE


def test_a_zip_file_of_several_files(tmp_path):
    path = tmp_path / "rows.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.csv", CSV)
        archive.writestr("b.csv", "text,label\nother,z\n")
    with pytest.raises(CuetuneError, match=r"2 files of data; name one of them with rows.zip@NAME: a.csv, b.csv"):
        values(path)
    assert values(f"{path}@b.csv") == [{"text": "other", "label": "z"}]
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("train.csv", CSV)
        archive.writestr("dev.csv", "text,label\nother,z\n")
    assert list(splits_of(path)) == ["train", "validation"]
    assert values(path) == TABLE
    assert values(splits_of(path)["validation"]) == [{"text": "other", "label": "z"}]


def test_a_fault_in_a_zip_file_names_the_archive(tmp_path):
    with zipfile.ZipFile(tmp_path / "rows.zip", "w") as archive:
        archive.writestr("rows.csv", "text,label\na,b\nc\0,d\n")
    with pytest.raises(CuetuneError, match=r"rows.zip/rows.csv, row 2"):
        values(tmp_path / "rows.zip")


def test_workbooks(tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    path = tmp_path / "book.xlsx"
    pandas.DataFrame([*TABLE, {"text": 3, "label": None}]).to_excel(path, index=False)
    expected = pandas.read_excel(path, dtype=object)
    found = values(path)
    assert found[:-1] == expected.to_dict("records")[:-1] == TABLE
    assert found[-1] == {"text": 3, "label": None}
    book = openpyxl.load_workbook(path)
    more = book.create_sheet("more")
    more.append(["text", "label"])
    more.append(["other", True])
    book.save(path)
    assert values(f"{path}@more") == [{"text": "other", "label": True}]
    assert "of 2 sheets 'Sheet1' is read" in next(iter(read_rows(path))).note
    cover = book.create_sheet("cover", 0)
    cover.append(["About this book"])
    book.save(path)
    assert values(path)[:-1] == TABLE
    with pytest.raises(CuetuneError, match="no sheet 'none'; it has 'cover', 'Sheet1', 'more'"):
        values(f"{path}@none")


def test_workbooks_without_openpyxl_are_one_line(tmp_path, monkeypatch):
    (tmp_path / "book.xlsx").write_bytes(b"PK")
    monkeypatch.setitem(__import__("sys").modules, "openpyxl", None)
    with pytest.raises(CuetuneError, match=r'pip install "cuetune\[excel\]"') as raised:
        values(tmp_path / "book.xlsx")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("ending", [".jsonl", ".ndjson"])
def test_a_list_under_a_name_of_json_lines(tmp_path, ending):
    path = tmp_path / f"rows{ending}"
    path.write_text(json.dumps(TABLE, indent=1))
    assert values(path) == TABLE


def test_a_file_whose_name_has_no_ending(tmp_path):
    path = tmp_path / "SMSSpamCollection"
    path.write_text(CSV.replace(",", "\t"))
    assert values(path) == TABLE


def test_lines_of_text_are_rows_without_labels(tmp_path):
    path = tmp_path / "rows.txt"
    path.write_text("Well, that was good.\n\nNot so; good.\n")
    assert values(path) == [{"text": "Well, that was good."}, {"text": "Not so; good."}]
    with pytest.raises(CuetuneError, match="without a label"):
        infer_task(list(read_rows(path)))


@pytest.mark.parametrize("writer", ["feather", "file", "stream"])
def test_arrow_files(tmp_path, writer):
    path, whole = tmp_path / "rows.arrow", pyarrow.Table.from_pylist(TABLE)
    if writer == "feather":
        pyarrow.feather.write_feather(whole, path)
    else:
        maker = pyarrow.ipc.new_file if writer == "file" else pyarrow.ipc.new_stream
        with maker(str(path), whole.schema) as sink:
            sink.write_table(whole)
    assert values(path) == TABLE


def test_class_names_that_datasets_wrote_into_parquet(tmp_path):
    names = ["negative", "positive"]
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=names)})
    rows = {"text": ["a", "b", "c"], "label": [1, 0, -1]}
    datasets.Dataset.from_dict(rows, features=features).to_parquet(tmp_path / "rows.parquet")
    assert values(tmp_path / "rows.parquet") == [
        {"text": "a", "label": "positive"},
        {"text": "b", "label": "negative"},
        {"text": "c", "label": None},
    ]


NULLABLE = {
    "object": ([None, "a"], object),
    "string": ([pandas.NA, "a"], "string"),
    "Int64": ([pandas.NA, 1], "Int64"),
    "boolean": ([pandas.NA, True], "boolean"),
    "Float64": ([pandas.NA, 1.0], "Float64"),
    "float32": ([np.nan, 1.0], "float32"),
    "category": ([None, "a"], "category"),
    "datetime": ([pandas.NaT, pandas.Timestamp("2024-01-01")], "datetime64[ns]"),
    "arrow": ([pandas.NA, "a"], pandas.ArrowDtype(pyarrow.string())),
}


@pytest.mark.parametrize("kind", NULLABLE)
def test_what_pandas_writes_for_nothing_is_nothing(kind):
    cells, dtype = NULLABLE[kind]
    frame = pandas.DataFrame({"text": ["a", "b"], "label": pandas.Series(cells, dtype=dtype)})
    missing, there = read_rows(frame)
    task = Task()
    with pytest.raises(CuetuneError, match="column 'label': no label"):
        task.example(missing)
    assert task.example(there).label in ("a", "1", "True", "2024-01-01 00:00:00")
    swapped = pandas.DataFrame({"text": frame["label"], "label": frame["text"]})
    with pytest.raises(CuetuneError, match="column 'text': no text"):
        task.example(next(iter(read_rows(swapped))))
