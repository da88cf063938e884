"""Plain text files: a text on every line, with fastText's labels or without, or a table under a .txt name."""

from collections.abc import Iterator
from pathlib import Path

from cuetune.data.formats.delimited import DELIMITERS, read_table
from cuetune.data.formats.layout import Layout
from cuetune.data.formats.text_file import faults_of, open_text
from cuetune.data.row import Row
from cuetune.data.task_inference import LABEL_NAMES, TEXT_NAMES

AS_TABLE = tuple(each for each in DELIMITERS if each != ",")  # commas stand in sentences, too
FIRST = 20  # lines that are looked at
MARK = "__label__"  # fastText's, before each label of a line


def read_text(path: Path, encoding: str, layout: Layout) -> Iterator[Row]:
    """Rows of a .txt file: of a table where every line has the same number of tabs, semicolons or pipes; else one for
    each line that is not empty, with the column "text", and "label" where all of the first lines begin with fastText's.
    """
    number = 0
    if layout.delimiter is None and not layout.column_names and _is_marked(path, encoding):
        yield from _read_marked(path, encoding)
        return
    delimiter = layout.delimiter or _delimiter(path, encoding)
    if delimiter is not None or layout.column_names:
        yield from read_table(path, encoding, delimiter or ",", layout)
        return
    with faults_of(path, lambda: f"after line {number}", encoding), open_text(path, encoding) as stream:
        for number, line in enumerate(stream, start=1):
            if line.strip():
                yield Row(f"{path.name}, line {number}", {"text": line.rstrip("\r\n")}, NOTE)


def _is_marked(path: Path, encoding: str) -> bool:
    """Whether all of the first lines begin with a label of fastText."""
    with faults_of(path, lambda: "at its beginning", encoding), open_text(path, encoding) as stream:
        lines = [line for _, line in zip(range(FIRST), stream, strict=False) if line.strip()]
    return bool(lines) and all(line.lstrip("\ufeff \t").startswith(MARK) for line in lines)


def _read_marked(path: Path, encoding: str) -> Iterator[Row]:
    """A row for each line: its text and its label, or a list of labels where a line of the file has several."""
    number = 0
    with faults_of(path, lambda: f"after line {number}", encoding), open_text(path, encoding) as stream:
        are_lists = any(line.count(MARK) > 1 and len(_divided(line)[0]) > 1 for line in stream)
    with faults_of(path, lambda: f"after line {number}", encoding), open_text(path, encoding) as stream:
        for number, line in enumerate(stream, start=1):
            if line.strip():
                labels, text = _divided(line)
                label = labels if are_lists else next(iter(labels), None)
                yield Row(f"{path.name}, line {number}", {"text": text, "label": label})


def _divided(line: str) -> tuple[list[str], str]:
    """The labels at the beginning of a line, without their mark, and the text behind them."""
    labels, text = [], line.strip()
    while text.startswith(MARK):
        label, *rest = text.split(maxsplit=1)
        labels.append(label.removeprefix(MARK))
        text = rest[0] if rest else ""
    return labels, text


NOTE = "lines of a .txt file, each taken for a text without a label"


def _delimiter(path: Path, encoding: str) -> str | None:
    """The delimiter that all of the first lines have equally often, or a comma between names that columns have."""
    with faults_of(path, lambda: "at its beginning", encoding), open_text(path, encoding) as stream:
        lines = [line for _, line in zip(range(FIRST), stream, strict=False) if line.strip()]
    for each in AS_TABLE:
        counts = {line.count(each) for line in lines}
        if len(lines) > 1 and len(counts) == 1 and counts != {0}:
            return each
    names = lines[0].strip().lower().split(",") if lines else []
    return "," if len(names) > 1 and {*names} & {*TEXT_NAMES, *LABEL_NAMES} else None
