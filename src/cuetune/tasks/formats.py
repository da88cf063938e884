"""File formats, each a function path -> rows that streams and names the row where something is wrong."""

import codecs
import csv
import gzip
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from cuetune.errors import CuetuneError
from cuetune.tasks.task import Row

csv.field_size_limit(min(sys.maxsize, 2**31 - 1))  # a review may be longer than the module's 128 KiB


def suffix_of(path: Path) -> str:
    """The ending that decides the format: ".csv" for reviews.csv and for reviews.csv.gz."""
    return (path.with_suffix("") if path.suffix.lower() == ".gz" else path).suffix.lower()


@contextmanager
def open_text(path: Path, encoding: str) -> Iterator[TextIO]:
    """A text file, gzipped or not; a byte-order mark is taken for what it is."""
    with path.open("rb") as stream:
        start = stream.read(4)
    zipped = start[:2] == b"\x1f\x8b"
    if not zipped and encoding.lower().replace("_", "-") in ("utf-8", "utf8"):
        encoding = "utf-16" if start[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        codecs.lookup(encoding)
    except LookupError as error:
        raise CuetuneError(f"{path}: unknown encoding {encoding!r}; use e.g. utf-8, latin-1, cp1252.") from error
    opener: Any = gzip.open if zipped else open
    with opener(path, "rt", encoding=encoding, newline="") as text:
        yield text


def _wrong_bytes(path: Path, where: str, error: UnicodeError, encoding: str) -> CuetuneError:
    bad = error.object[error.start : error.start + 1].hex() if isinstance(error, UnicodeDecodeError) else "?"
    return CuetuneError(
        f"{path}, {where}: byte 0x{bad} is not {encoding}; save the file as UTF-8, or pass --encoding "
        "latin-1 (or whatever it is)."
    )


def read_table(path: Path, encoding: str, delimiter: str) -> Iterator[Row]:
    """CSV or TSV. A header with semicolons and no comma means semicolons, as some spreadsheets write them."""
    number, line = 0, 1
    try:
        with open_text(path, encoding) as stream:
            if delimiter == ",":
                first = stream.readline()
                delimiter = ";" if "," not in first and ";" in first else ","
                stream.seek(0)
            reader = csv.reader(stream, delimiter=delimiter, strict=True)
            header = _header(path, next(reader, None))
            line = reader.line_num + 1
            for cells in reader:
                if cells:
                    number += 1
                    where = f"{path.name}, row {number}" + ("" if line == number + 1 else f" (line {line})")
                    yield Row(where, _cells(path, where, header, cells))
                line = reader.line_num + 1
    except UnicodeError as error:
        raise _wrong_bytes(path, f"after row {number}", error, encoding) from error
    except csv.Error as error:
        raise CuetuneError(
            f"{path}, row {number + 1} (line {line}): {error}; is a quotation mark not closed?"
        ) from error
    except (EOFError, gzip.BadGzipFile) as error:
        raise CuetuneError(f"{path}: broken gzip file after row {number} ({error}); fetch it again.") from error


def _header(path: Path, header: list[str] | None) -> list[str]:
    if not header or not any(name.strip() for name in header):
        raise CuetuneError(f"{path}: the file is empty; expected a header line with column names.")
    names = [name.strip() for name in header]
    if "" in names:
        raise CuetuneError(f"{path}: column {names.index('') + 1} of the header has no name; give it one.")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise CuetuneError(f"{path}: the header names column {twice[0]!r} twice; rename one.")
    return names


def _cells(path: Path, where: str, header: list[str], cells: list[str]) -> dict[str, str]:
    if len(cells) != len(header):
        raise CuetuneError(
            f"{path.parent / where}: {len(cells)} cells, but the header has {len(header)} columns; put "
            "quotation marks around texts that contain the delimiter."
        )
    if any("\0" in cell for cell in cells):
        raise CuetuneError(f"{path.parent / where}: contains a NUL byte; the file is damaged or not text.")
    return dict(zip(header, cells, strict=True))


def read_json_lines(path: Path, encoding: str) -> Iterator[Row]:
    """One JSON object a line; empty lines are skipped."""
    number = 0
    try:
        with open_text(path, encoding) as stream:
            for number, line in enumerate(stream, start=1):
                if line.strip():
                    yield Row(f"{path.name}, line {number}", _object(f"{path}, line {number}", line))
    except UnicodeError as error:
        raise _wrong_bytes(path, f"after line {number}", error, encoding) from error
    except (EOFError, gzip.BadGzipFile) as error:
        raise CuetuneError(f"{path}: broken gzip file after line {number} ({error}); fetch it again.") from error


def _object(where: str, line: str) -> dict[str, Any]:
    try:
        values = json.loads(line)
    except json.JSONDecodeError as error:
        raise CuetuneError(
            f"{where}: broken JSON at character {error.pos + 1} ({error.msg}); each line must be one whole object."
        ) from error
    if not isinstance(values, dict):
        raise CuetuneError(f'{where}: a {type(values).__name__}; expected an object like {{"text": …, "label": …}}.')
    return values


def read_json(path: Path, encoding: str) -> Iterator[Row]:
    """A .json file: a list of objects, or one object a line."""
    with open_text(path, encoding) as stream:
        try:
            start = stream.read(1)
            while start.isspace():
                start = stream.read(1)
            if start != "[":
                yield from read_json_lines(path, encoding)
                return
            values = json.loads("[" + stream.read())
        except UnicodeError as error:
            raise _wrong_bytes(path, "somewhere", error, encoding) from error
        except json.JSONDecodeError as error:
            raise CuetuneError(f"{path}: broken JSON at line {error.lineno} ({error.msg}).") from error
    for number, value in enumerate(values, start=1):
        if not isinstance(value, dict):
            raise CuetuneError(f"{path}, item {number}: a {type(value).__name__}; expected an object.")
        yield Row(f"{path.name}, item {number}", value)


def read_parquet(path: Path, encoding: str) -> Iterator[Row]:
    """Parquet, a batch of rows at a time."""
    import pyarrow
    import pyarrow.parquet as parquet

    try:
        with parquet.ParquetFile(path) as file:
            number = 0
            for batch in file.iter_batches(batch_size=1024):
                for values in batch.to_pylist():
                    number += 1
                    yield Row(f"{path.name}, row {number}", values)
    except (pyarrow.ArrowException, OSError) as error:
        raise CuetuneError(f"{path}: not a whole Parquet file ({str(error).splitlines()[0][:120]}).") from error


READERS: dict[str, Callable[[Path, str], Iterator[Row]]] = {
    ".csv": partial(read_table, delimiter=","),
    ".tsv": partial(read_table, delimiter="\t"),
    ".jsonl": read_json_lines,
    ".ndjson": read_json_lines,
    ".json": read_json,
    ".parquet": read_parquet,
}
