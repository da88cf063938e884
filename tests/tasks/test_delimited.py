"""Text tables as other programs write them: pandas says what rows a file holds, and nothing is lost in silence."""

import csv
import random

import pandas
import pytest

from cuetune.data.examples import row_notes
from cuetune.data.formats.layout import Layout
from cuetune.data.reading import read_rows
from cuetune.data.sources import Source
from cuetune.data.task import Task
from cuetune.data.task_inference import infer_task
from cuetune.errors import CuetuneError

WORDS = ("good", "bad, really", "a; b", "tab\there", "pipe | here", 'say "hi"', "two\nlines", "naïve", "1,5", "")


def table(n=40, seed=0):
    draw = random.Random(seed)
    return [
        {"text": " ".join(draw.choices(WORDS, k=3)) + f" {i}", "label": draw.choice(["x", "y; z"]), "n": str(i)}
        for i in range(n)
    ]


def values(source, **options):
    return [dict(row.values) for row in read_rows(source, **options)]


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".txt"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|", "\x01"])
def test_every_delimiter_is_found_and_the_rows_are_those_of_pandas(tmp_path, delimiter, ending):
    path = tmp_path / f"rows{ending}"
    pandas.DataFrame(table()).to_csv(path, sep=delimiter, index=False)
    if ending == ".txt":  # lines with equally many delimiters, or names above commas
        pandas.DataFrame([{"text": f"word {i}", "label": "x"} for i in range(9)]).to_csv(
            path, sep=delimiter, index=False
        )
    expected = pandas.read_csv(path, sep=delimiter, dtype=str, keep_default_na=False)
    assert values(path) == expected.to_dict("records")


@pytest.mark.parametrize("quoting", [csv.QUOTE_ALL, csv.QUOTE_MINIMAL, csv.QUOTE_NONNUMERIC])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_line_ends_and_quoting_of_writers(tmp_path, quoting, line_end):
    path = tmp_path / "rows.csv"
    plain = [{**row, "text": row["text"].replace("\n", " ")} for row in table()]
    pandas.DataFrame(plain).to_csv(path, index=False, quoting=quoting, lineterminator=line_end)
    assert values(path) == plain


def test_what_excel_says_above_the_header(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_bytes(b"\xef\xbb\xbfsep=;\r\ntext;label\r\nhi, there;x\r\n")
    rows = list(read_rows(path))
    assert rows[0].values == {"text": "hi, there", "label": "x"}
    assert rows[0].where == "rows.csv, row 1 (line 3)"


def test_empty_lines_above_the_header(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("\n\ntext,label\na,x\n")
    (row,) = read_rows(path)
    assert row.values == pandas.read_csv(path).to_dict("records")[0]
    assert row.where == "rows.csv, row 1 (line 4)"


def test_a_delimiter_that_is_named(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("text~label\na, b~x\nc~y\n")
    assert values(Source(path, layout=Layout("~"))) == [{"text": "a, b", "label": "x"}, {"text": "c", "label": "y"}]
    with pytest.raises(CuetuneError, match="--delimiter"):
        infer_task(list(read_rows(path)))


def test_a_file_of_one_column_has_no_delimiter(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text('text\nwell, no\n"quoted, too"\nplain\n')
    assert values(path) == [{"text": "well, no"}, {"text": "quoted, too"}, {"text": "plain"}]


def test_an_index_column_of_pandas_is_kept_and_means_nothing(tmp_path):
    path = tmp_path / "rows.csv"
    frame = pandas.DataFrame({"review text": ["a", "b"], "label": ["x", "y"]})
    frame.to_csv(path)
    rows = list(read_rows(path))
    assert rows[1].values == {"column 1": "1", "review text": "b", "label": "y"}
    assert infer_task(rows).columns == {"text": "review text"}


def test_columns_of_one_name_are_all_kept_and_none_is_guessed(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("text,label,note,note\na,x,1,2\nb,y,3,4\n")
    assert values(path)[0] == {"text": "a", "label": "x", "note (column 3)": "1", "note (column 4)": "2"}
    path.write_text("text,label,text\na,x,1\nb,y,3\n")
    with pytest.raises(CuetuneError, match=r"text \(column 1\)"):
        infer_task(list(read_rows(path)))
    task = infer_task(list(read_rows(path)), text="text (column 3)")
    assert task.example(list(read_rows(path))[1]).fields == {"text": "3"}


def test_columns_of_one_name_in_a_frame(tmp_path):
    frame = pandas.DataFrame([["a", "x", 1, 2]], columns=["text", "label", "note", "note"])
    assert values(frame) == [{"text": "a", "label": "x", "note (column 3)": 1, "note (column 4)": 2}]


@pytest.mark.parametrize(
    "content", ["text,label,\na,x,\nb,y,\n", "text,label\na,x,\nb,y,\n", "text,label,,\na,x\nb,y,,\n"]
)
def test_delimiters_behind_the_last_column(tmp_path, content):
    path = tmp_path / "rows.csv"
    path.write_text(content)
    assert values(path) == [{"text": "a", "label": "x"}, {"text": "b", "label": "y"}]


def test_a_cell_behind_the_last_column_is_not_dropped(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("text,label\na,x,more\n")
    (row,) = read_rows(path)
    assert row.fault == "3 cells, but the header has 2 columns"
    path.write_text("text,label,\na,x,more\n")
    assert values(path) == [{"text": "a", "label": "x", "column 3": "more"}]


def test_quotation_marks_that_swallow_rows_are_told(tmp_path):
    path = tmp_path / "rows.tsv"
    lines = [f"text {i}\tx\n" for i in range(20)]
    lines[3], lines[9] = '"text 3\tx\n', 'text 9"\tx\n'
    path.write_text("text\tlabel\n" + "".join(lines))
    rows = list(read_rows(path))
    expected = pandas.read_csv(path, sep="\t")
    assert [row.values["text"] for row in rows] == expected["text"].tolist()
    assert len(rows) == 14
    (note,) = row_notes(rows)
    assert "row 4" in note
    assert "--quoting none" in note
    whole = list(read_rows(Source(path, layout=Layout(quoting="none"))))
    raw = pandas.read_csv(path, sep="\t", quoting=csv.QUOTE_NONE)
    assert [row.values["text"] for row in whole] == raw["text"].tolist()
    assert len(whole) == 20
    assert not row_notes(whole)


def test_quoted_cells_of_csv_are_no_news(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text('text,label\n"two\nlines, here",x\n')
    assert not row_notes(read_rows(path))


def test_no_header_row(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("a film that is good,positive\na film that is bad,negative\nfine film this one,positive\n")
    with pytest.raises(CuetuneError, match="first row looks like data.*--column-names text,label") as raised:
        infer_task(list(read_rows(path)))
    assert "\n" not in str(raised.value)
    with pytest.raises(CuetuneError, match="no column 'text'.*--column-names"):  # as `predict` and `evaluate` ask
        Task().example(next(read_rows(path)))
    rows = list(read_rows(Source(path, layout=Layout(column_names=("text", "label")))))
    assert len(rows) == 3
    assert rows[0].where == "rows.csv, row 1"
    assert infer_task(rows).labels == ("negative", "positive")


def test_a_first_row_that_only_looks_like_a_header(tmp_path):
    """ "y" is a usual name of labels, and a usual label: the first row must not be lost."""
    path = tmp_path / "rows.csv"
    path.write_text("good film,y\nbad film,n\ngreat film,y\n")
    with pytest.raises(CuetuneError, match="--column-names"):
        infer_task(list(read_rows(path)))
    path.write_text("text,y\nbad film,n\ngreat film,y\n")
    assert infer_task(list(read_rows(path))).labels == ("n", "y")


@pytest.mark.parametrize(
    "how", [{"quoting": "some"}, {"delimiter": "ab"}, {"delimiter": ""}, {"column_names": ("text", "text")}]
)
def test_options_that_make_no_sense(how):
    with pytest.raises(CuetuneError, match="--"):
        Layout(**how)
