"""Text tables: CSV and TSV with whatever delimiter, read row by row."""

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from cuetune.data.formats.column_names import column_names, is_nameless
from cuetune.data.formats.layout import Layout
from cuetune.data.formats.long_cells import LongCells
from cuetune.data.formats.text_file import faults_of, open_text
from cuetune.data.row import Row
from cuetune.errors import CuetuneError

DELIMITERS = (",", ";", "\t", "|", "\x01")  # tried in this order behind the usual one of the file's ending
SAMPLE = 1 << 16  # characters by which the delimiter is found
SAMPLE_ROWS = 50
NO_DELIMITER = "\x1f"  # of a file with a single column: a character that texts do not hold
SAYS_DELIMITER = re.compile(r'"?sep=(.)"?\r?\n')  # as Excel writes it above the header


@dataclass
class _Place:
    """How far a table has been read, for messages."""

    number: int = 0
    line: int = 1
    quoted_lines: int = field(default=0)

    def __str__(self) -> str:
        return f"after row {self.number}"


def read_table(path: Path, encoding: str, usual: str, layout: Layout) -> Iterator[Row]:
    """Rows of a text table in order. usual: the delimiter that the file's ending speaks for.

    A row says so where a quoted cell of a tab-separated file holds a line end or a tab: more often a quotation mark
    begins a text there. Raises CuetuneError naming the row and its line for what cannot be read.
    """
    place = _Place()
    with faults_of(path, lambda: str(place), encoding):
        start, delimiter = _beginning(path, encoding, usual, layout)
        with open_text(path, encoding) as stream:
            place.line = len(list(islice(stream, start))) + 1
            reader = _reader(stream, delimiter, layout.quoting)
            try:
                yield from _rows(path, layout, reader, delimiter, place, start)
            except csv.Error as error:
                raise CuetuneError(
                    f"{path}, row {place.number + 1} (line {place.line}): {error}; is a quotation mark not closed? "
                    "Pass --quoting none where quotation marks are part of the texts."
                ) from error


def _rows(path: Path, layout: Layout, reader: Any, delimiter: str, place: _Place, start: int) -> Iterator[Row]:
    header = list(layout.column_names) or _header(path, next(filter(None, reader), None))
    place.line = start + reader.line_num + 1
    above = 0 if layout.column_names else 1
    for cells in reader:
        if cells:
            place.number += 1
            beside = place.line == place.number + above
            where = f"{path.name}, row {place.number}" + ("" if beside else f" (line {place.line})")
            values, fault = _cells(path, where, header, cells), _fault(header, cells)
            yield Row(where, values, _note(where, cells) if delimiter == "\t" else "", fault)
        place.line = start + reader.line_num + 1


def _note(where: str, cells: Sequence[str]) -> str:
    """What to say of a row of tab-separated cells: one that was quoted may have swallowed others."""
    return QUOTED if any(mark in cell for cell in cells for mark in "\t\r\n") else ""


QUOTED = (
    "quoted cells that hold tabs or line ends; where quotation marks are part of the texts, rows were swallowed: pass "
    "--quoting none"
)


def _reader(lines: Iterable[str], delimiter: str, quoting: str, strict: bool = True) -> Any:
    reader = csv.reader(
        lines,
        delimiter=delimiter,
        strict=strict,
        quoting=csv.QUOTE_NONE if quoting == "none" else csv.QUOTE_MINIMAL,
    )
    return LongCells(reader)


def _beginning(path: Path, encoding: str, usual: str, layout: Layout) -> tuple[int, str]:
    """How many lines stand above the header, and the delimiter."""
    with open_text(path, encoding) as stream:
        sample = stream.read(SAMPLE)
    said = SAYS_DELIMITER.match(sample)
    if said:
        return 1, layout.delimiter or said[1]
    return 0, layout.delimiter or _found_delimiter(sample, usual, layout)


def _found_delimiter(sample: str, usual: str, layout: Layout) -> str:
    """The delimiter under which most of the first rows have as many cells as the header; `usual` where it does well.

    A header of one name has none: then a line is a cell, whatever stands in it.
    """
    lines = sample.splitlines(keepends=True)
    if len(sample) == SAMPLE:
        lines = lines[:-1] or lines
    shares = {each: _share(lines, each, layout) for each in (usual, *DELIMITERS)}
    best = max(shares, key=lambda each: shares[each])
    if shares[best] > 0:
        return best
    return NO_DELIMITER if _width(lines, usual, layout) == 1 else usual


def _share(lines: Sequence[str], delimiter: str, layout: Layout) -> float:
    """The share of the first rows that have the header's number of cells, two at least."""
    try:
        rows = list(islice(filter(None, _reader(lines, delimiter, layout.quoting, strict=False)), SAMPLE_ROWS))
    except csv.Error:
        return 0.0
    width = len(layout.column_names) or (len(rows[0]) if rows else 0)
    below = rows if layout.column_names else rows[1:]
    if width < 2:
        return 0.0
    return sum(len(cells) == width for cells in below) / len(below) if below else 0.5


def _width(lines: Sequence[str], delimiter: str, layout: Layout) -> int:
    first: list[str] = next(filter(None, _reader(lines, delimiter, layout.quoting, strict=False)), [])
    return len(layout.column_names) or len(first)


def _header(path: Path, header: list[str] | None) -> list[str]:
    if not header or not any(name.strip() for name in header):
        raise CuetuneError(f"{path}: the file is empty; expected a header line with column names.")
    return column_names(header)


def _cells(path: Path, where: str, header: Sequence[str], cells: Sequence[str]) -> dict[str, str]:
    """Column -> cell."""
    if any("\0" in cell for cell in cells):
        raise CuetuneError(
            f"{path.parent / where}: contains a NUL byte; the file is damaged, no text, or UTF-16 (pass --encoding "
            "utf-16-le)."
        )
    return {name: cell for name, cell in zip(header, cells, strict=False) if cell or not is_nameless(name)}


def _fault(header: Sequence[str], cells: Sequence[str]) -> str:
    """What is wrong with the number of cells: some may be missing or empty behind the last name of the header."""
    missing, extra = header[len(cells) :], cells[len(header) :]
    if not any(extra) and all(map(is_nameless, missing)):
        return ""
    return f"{len(cells)} cells, but the header has {len(header)} columns"
