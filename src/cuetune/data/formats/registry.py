"""File formats, each a function path -> rows that streams and names the row where something is wrong."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from cuetune.data.formats.archive import read_archive
from cuetune.data.formats.columnar import read_arrow, read_parquet
from cuetune.data.formats.delimited import read_table
from cuetune.data.formats.json_shapes import rows_in
from cuetune.data.formats.layout import Layout
from cuetune.data.formats.lines_file import read_text
from cuetune.data.formats.spreadsheet import read_workbook
from cuetune.data.formats.text_file import faults_of, open_text, suffix_of
from cuetune.data.row import Row
from cuetune.errors import CuetuneError
from cuetune.support.strict_json import DAMAGED, reason_of


def read_json_lines(path: Path, encoding: str) -> Iterator[Row]:
    """One JSON object a line; empty lines are skipped."""
    number = 0
    with faults_of(path, lambda: f"after line {number}", encoding), open_text(path, encoding) as stream:
        for number, line in enumerate(stream, start=1):
            if line.strip():
                yield Row(f"{path.name}, line {number}", _object(f"{path}, line {number}", line))


def _object(where: str, line: str) -> dict[str, Any]:
    try:
        values = json.loads(line)
    except json.JSONDecodeError as error:
        raise CuetuneError(
            f"{where}: broken JSON at character {error.pos + 1} ({error.msg}); each line must be one whole object."
        ) from error
    except DAMAGED as error:  # nested too deeply, or a number of thousands of digits
        raise CuetuneError(f"{where}: JSON that cannot be read ({reason_of(error)}); mend the row.") from error
    if not isinstance(values, dict):
        raise CuetuneError(f'{where}: a {type(values).__name__}; expected an object like {{"text": …, "label": …}}.')
    return values


def read_json(path: Path, encoding: str) -> Iterator[Row]:
    """A .json file: a document that holds a table (see `rows_in`), or one object a line."""
    if _is_object_a_line(path, encoding):
        yield from read_json_lines(path, encoding)
        return
    with faults_of(path, lambda: "somewhere", encoding), open_text(path, encoding) as stream:
        try:
            document = json.load(stream)
        except json.JSONDecodeError as error:
            raise CuetuneError(f"{path}: broken JSON at line {error.lineno} ({error.msg}).") from error
        except UnicodeError:
            raise
        except DAMAGED as error:
            raise CuetuneError(f"{path}: JSON that cannot be read ({reason_of(error)}); mend the file.") from error
    rows = rows_in(document)
    if rows is None:
        found = ", ".join(map(repr, list(document)[:5])) if isinstance(document, dict) else type(document).__name__
        raise CuetuneError(f"{path}: holds no rows but {found}; expected a list of objects.")
    for number, value in enumerate(rows, start=1):
        if not isinstance(value, Mapping):
            raise CuetuneError(f"{path}, item {number}: a {type(value).__name__}; expected an object.")
        yield Row(f"{path.name}, item {number}", value)


def _read_lines_or_list(path: Path, encoding: str) -> Iterator[Row]:
    """One object a line; a file that begins with a list is a .json file under another name."""
    with faults_of(path, lambda: "at its beginning", encoding), open_text(path, encoding) as stream:
        is_list = stream.read(64).lstrip().startswith("[")
    yield from read_json(path, encoding) if is_list else read_json_lines(path, encoding)


def _is_object_a_line(path: Path, encoding: str) -> bool:
    """Whether the first line is a whole object, and no table by itself."""
    with faults_of(path, lambda: "at its beginning", encoding), open_text(path, encoding) as stream:
        lines = (line for line in stream if line.strip())
        try:
            first, more = json.loads(next(lines, "null")), next(lines, None) is not None
        except UnicodeError:
            raise
        except DAMAGED:
            return False
    return isinstance(first, dict) and (more or rows_in(first) is None)


Reader = Callable[[Path, str, Layout], Iterator[Row]]

# The formats of tables: a folder that holds one is data of `datasets`, whatever else lies in it.
READERS: dict[str, Reader] = {
    ".csv": lambda path, encoding, layout: read_table(path, encoding, ",", layout),
    ".tsv": lambda path, encoding, layout: read_table(path, encoding, "\t", layout),
    ".jsonl": lambda path, encoding, _: _read_lines_or_list(path, encoding),
    ".ndjson": lambda path, encoding, _: _read_lines_or_list(path, encoding),
    ".json": lambda path, encoding, _: read_json(path, encoding),
    ".parquet": lambda path, encoding, _: read_parquet(path, encoding),
}
# Formats that are read where a file is named itself.
ALONE: dict[str, Reader] = {
    **READERS,
    ".tab": READERS[".tsv"],
    ".psv": lambda path, encoding, layout: read_table(path, encoding, "|", layout),
    ".txt": read_text,
    ".arrow": lambda path, encoding, _: read_arrow(path, encoding),
    ".feather": lambda path, encoding, _: read_arrow(path, encoding),
    ".xlsx": lambda path, encoding, _: read_workbook(path, encoding),
    ".xlsm": lambda path, encoding, _: read_workbook(path, encoding),
}
AS_TEXT = ("", ".dat", ".data", ".text")  # endings that say nothing
ARCHIVE = ".zip"
BETTER = {".xls": ".xlsx or .csv", ".ods": ".xlsx or .csv", ".pkl": ".parquet", ".pickle": ".parquet", ".tar": ".zip"}


def read_file(path: Path, encoding: str, layout: Layout, part: str | None = None) -> Iterator[Row]:
    """Rows of a file by its ending. part: the sheet of a workbook, or the file in an archive.

    Raises CuetuneError for an ending that is not known.
    """
    suffix = suffix_of(path)
    if suffix == ARCHIVE:
        return read_archive(path, [*ALONE], part, lambda copy: read_file(copy, encoding, layout))
    if suffix in (".xlsx", ".xlsm") and part is not None:
        return read_workbook(path, encoding, part)
    if part is not None:
        raise CuetuneError(f"{path}: a {suffix} file has no part {part!r}; leave it out.")
    if suffix in ALONE or suffix in AS_TEXT:
        return ALONE.get(suffix, read_text)(path, encoding, layout)
    advice = f"; save it as {BETTER[suffix]}" if suffix in BETTER else ""
    raise CuetuneError(f"{path}: unknown ending {path.suffix!r}{advice}; supported: {', '.join([*ALONE, ARCHIVE])}.")


def is_file_name(name: str) -> bool:
    """Whether a name can only be that of a file: by its ending, or because it says from where."""
    suffix = suffix_of(Path(name))
    return suffix in ALONE or suffix in BETTER or suffix == ARCHIVE or Path(name).is_absolute()
