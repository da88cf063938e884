"""Users' files: every format reads back what was written, and every fault is one line that says where and what next."""

import bz2
import csv
import gzip
import json
import lzma
import tracemalloc

import pandas
import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cuetune.data.reading import read_rows
from cuetune.data.row_error import RowError
from cuetune.data.task_inference import infer_task
from cuetune.errors import CuetuneError

words = st.text(st.characters(blacklist_categories=("Cs", "Cc")), max_size=20) | st.just(
    'a "quoted", text\nof two lines'
)
tables = st.lists(st.fixed_dictionaries({"text": words, "label": words}), min_size=1, max_size=8)
quick = settings(
    max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def write(path, table):
    if path.suffix in (".csv", ".tsv"):
        with path.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, ["text", "label"], delimiter="," if path.suffix == ".csv" else "\t")
            writer.writeheader()
            writer.writerows(table)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in table), encoding="utf-8")
    elif path.suffix == ".json":
        path.write_text(json.dumps(table, indent=1), encoding="utf-8")
    else:
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(table), path)


def values(source, **options):
    return [dict(row.values) for row in read_rows(source, **options)]


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".jsonl", ".json", ".parquet"])
@quick
@given(table=tables)
def test_every_format_reads_back_what_was_written(ending, table, tmp_path):
    path = tmp_path / f"rows{ending}"
    write(path, table)
    assert values(path) == table


def test_frames_lists_and_datasets(tmp_path):
    import datasets

    table = [{"text": "a", "label": "x"}, {"text": "b", "label": "y"}]
    assert values(table) == table
    assert values(pandas.DataFrame(table)) == table
    assert values(datasets.Dataset.from_list(table)) == table
    assert values(datasets.DatasetDict(train=datasets.Dataset.from_list(table))) == table
    (tmp_path / "folder").mkdir()
    write(tmp_path / "folder" / "train.csv", table)
    assert values(str(tmp_path / "folder")) == table


def test_class_numbers_of_datasets_become_their_names():
    import datasets

    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["no", "yes"])})
    data = datasets.Dataset.from_dict({"text": ["a"], "label": [1]}, features=features)
    assert values(data) == [{"text": "a", "label": "yes"}]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_byte_order_marks_are_understood(tmp_path, encoding):
    path = tmp_path / "rows.csv"
    path.write_bytes("text,label\ncafé,x\n".encode(encoding))
    assert values(path) == [{"text": "café", "label": "x"}]


def test_semicolons_gzip_and_other_encodings(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_bytes("text;label\ncafé;x\n".encode("latin-1"))
    assert values(path, encoding="latin-1") == [{"text": "café", "label": "x"}]
    with gzip.open(tmp_path / "rows.csv.gz", "wt") as stream:
        stream.write("text,label\na,b\n")
    assert values(tmp_path / "rows.csv.gz") == [{"text": "a", "label": "b"}]


def test_rows_say_where_they_stand(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text('text,label\n"two\nlines",x\nb,y\n')
    assert [row.where for row in read_rows(path)] == ["rows.csv, row 1", "rows.csv, row 2 (line 4)"]


BAD = {
    "empty file": ("rows.csv", b"", "empty"),
    "header only": ("rows.csv", b"text,label\n", "no rows"),
    "open quote": ("rows.csv", b'text,label\na,b\n"c,d\n', "row 2"),
    "latin-1 bytes": ("rows.csv", b"text,label\ncaf\xe9,b\n", "0xe9"),
    "NUL byte": ("rows.csv", b"text,label\na\0,b\n", "NUL"),
    "broken JSON line": ("rows.jsonl", b'{"text": "a"}\n{"text": \n', "line 2"),
    "JSON line not an object": ("rows.jsonl", b'{"text": "a"}\n[1]\n', "line 2"),
    "empty JSONL": ("rows.jsonl", b"", "no rows"),
    "broken JSON": ("rows.json", b'[{"text": "a"},', "line 1"),
    "item not an object": ("rows.json", b'[{"text": "a"}, 3]', "item 2"),
    "cut Parquet": ("rows.parquet", b"PAR1\0\0", "Parquet"),
    "unknown ending": ("rows.docx", b"PK", "supported"),
    "old Excel": ("rows.xls", b"\xd0\xcf", "save it as .xlsx"),
    "pickle": ("rows.pkl", b"\x80", "save it as .parquet"),
    "cut Excel": ("rows.xlsx", b"PK\3\4", "Excel"),
    "cut zip": ("rows.zip", b"PK\3\4", "zip"),
    "cut bzip2": ("rows.csv.bz2", bz2.compress(b"text,label\na,b\n" * 1000)[:-40], "broken compressed"),
    "cut xz": ("rows.csv.xz", lzma.compress(b"text,label\na,b\n" * 1000)[:-40], "broken compressed"),
    "a document without rows": ("rows.json", b"3", "holds no rows"),
    "quotes in unquoted TSV": ("rows.tsv", b'text\tlabel\n"a" b\tx\n', "--quoting none"),
    "cut gzip": ("rows.csv.gz", gzip.compress(b"text,label\na,b\n" * 1000)[:-40], "gzip"),
}


@pytest.mark.parametrize("line", ["c,d,e", "c"])
def test_a_row_of_another_number_of_cells_says_so(tmp_path, line):
    (tmp_path / "rows.csv").write_text(f"text,label\na,b\n{line}\nx,y\n")
    whole, faulty, other = read_rows(tmp_path / "rows.csv")
    assert not whole.fault
    assert faulty.where == "rows.csv, row 2"
    assert faulty.fault == f"{line.count(',') + 1} cells, but the header has 2 columns"
    task = infer_task([whole, faulty, other])
    assert task.labels == ("b", "y")
    with pytest.raises(RowError, match="row 2: . cells, but the header has 2 columns; put quotation marks"):
        task.example(faulty)
    with pytest.raises(RowError, match="row 2: . cells"):
        infer_task([faulty])


@pytest.mark.parametrize("kind", BAD)
def test_bad_files_are_one_line_that_says_where(tmp_path, kind):
    name, content, said = BAD[kind]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CuetuneError) as raised:
        list(read_rows(tmp_path / name))
    message = str(raised.value)
    assert "\n" not in message
    assert name in message
    assert said in message


def test_a_missing_file_suggests_a_close_name(tmp_path):
    (tmp_path / "reviews.csv").write_text("text,label\na,b\n")
    with pytest.raises(CuetuneError, match="Did you mean .*reviews.csv"):
        read_rows(tmp_path / "review.csv")


@pytest.mark.parametrize("source", [3, [1, 2], "no/such/name"])
def test_what_is_no_data_is_refused(source):
    with pytest.raises(CuetuneError):
        list(read_rows(source))


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet"])
def test_memory_does_not_grow_with_the_number_of_rows(tmp_path, ending):
    path = tmp_path / f"rows{ending}"
    write(path, [{"text": f"row {number} " + "x" * 40, "label": "a"} for number in range(60_000)])
    next(iter(read_rows(path)))  # imports are not counted
    tracemalloc.start()
    count = sum(1 for _ in read_rows(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 60_000
    assert peak < 3_000_000
