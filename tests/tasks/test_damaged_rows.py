"""One row that cannot be read is one line that names it, whatever is wrong with it and wherever it comes from."""

import pytest

from cuetune.cli import main
from cuetune.data.reading import read_rows
from cuetune.data.stream import read_stream_file
from cuetune.data.task import Task
from cuetune.errors import CuetuneError

TASK = Task(labels=("a", "b"))
GOOD = '{"text": "good", "label": "a"}'
BROKEN = {
    "half of a character": r'{"text": "\ud800", "label": "a"}',
    "half of a character in the label": r'{"text": "x", "label": "\udfff"}',
    "a number of 5,000 digits": '{"text": ' + "9" * 5000 + ', "label": "a"}',
    "nested too deeply": '{"text": ' + "[" * 100_000 + "]" * 100_000 + ', "label": "a"}',
    "nested objects": '{"a":' * 50_000 + "1" + "}" * 50_000,
    "nested and cut": "[" * 100_000,
}


def examples(path):
    return [TASK.example(row) for row in read_rows(str(path))]


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_line_is_named(tmp_path, how):
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join([GOOD, BROKEN[how], GOOD]))
    with pytest.raises(CuetuneError, match="line 2") as error:
        examples(path)
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 400


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_document_is_named(tmp_path, how):
    path = tmp_path / "rows.json"
    path.write_text("[" + ",".join([GOOD, BROKEN[how]]) + "]")
    with pytest.raises(CuetuneError, match="rows.json") as error:
        examples(path)
    assert str(error.value).isprintable()


def test_rows_of_python_are_named_too():
    for text in ("\ud800", "a\udcffb"):
        with pytest.raises(CuetuneError, match=r"rows\[1\], column 'text'"):
            [TASK.example(row) for row in read_rows([{"text": "x", "label": "a"}, {"text": text, "label": "a"}])]


def test_whole_characters_of_every_kind_are_read():
    texts = ["é", "𐍈", "\ufeff", "a\u0301", "\x00"]
    rows = [{"text": text, "label": "a"} for text in texts]
    assert [TASK.example(row).fields["text"] for row in read_rows(rows)] == texts


@pytest.mark.parametrize(
    "arguments", [["predict", "p1", "--input", "\udcff"], ["tune", "\udce4.csv"], ["show", "\udcff"]]
)
def test_an_argument_that_is_not_utf8_is_one_line(arguments, monkeypatch, capfd):
    monkeypatch.setattr("sys.argv", ["cuetune", *arguments])
    with pytest.raises(SystemExit) as left:
        main.main()
    assert left.value.code == 2
    assert "is not UTF-8" in capfd.readouterr().err


@pytest.mark.parametrize("name", ["x" * 5000, "a\\0b", "x" * 300 + ".csv", "d/" * 3000])
def test_a_name_that_no_file_can_have_is_one_line(tmp_path, name):
    (tmp_path / "STREAM.yaml").write_text(f'data: "{name}"\ndivide: 1\n')
    with pytest.raises(CuetuneError, match="STREAM.yaml, line 1: data: .* is too long"):
        read_stream_file(tmp_path / "STREAM.yaml")
