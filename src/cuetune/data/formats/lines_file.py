"""Plain text files: a text on every line, or a table under a .txt name."""

from collections.abc import Iterator
from pathlib import Path

from cuetune.data.formats.delimited import DELIMITERS, read_table
from cuetune.data.formats.layout import Layout
from cuetune.data.formats.text_file import faults_of, open_text
from cuetune.data.row import Row
from cuetune.data.task_inference import LABEL_NAMES, TEXT_NAMES

AS_TABLE = tuple(each for each in DELIMITERS if each != ",")  # commas stand in sentences, too
FIRST = 20  # lines that are looked at


def read_text(path: Path, encoding: str, layout: Layout) -> Iterator[Row]:
    """Rows of a .txt file: of a table where every line has the same number of tabs, semicolons or pipes; else one for
    each line that is not empty, with the column "text".
    """
    number = 0
    delimiter = layout.delimiter or _delimiter(path, encoding)
    if delimiter is not None or layout.column_names:
        yield from read_table(path, encoding, delimiter or ",", layout)
        return
    with faults_of(path, lambda: f"after line {number}", encoding), open_text(path, encoding) as stream:
        for number, line in enumerate(stream, start=1):
            if line.strip():
                yield Row(f"{path.name}, line {number}", {"text": line.rstrip("\r\n")}, NOTE)


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
