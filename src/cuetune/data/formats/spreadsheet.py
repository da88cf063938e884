"""Excel workbooks: the rows of a sheet, read one after another by openpyxl."""

import warnings
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

from cuetune.data.formats.column_names import column_names, is_nameless
from cuetune.data.row import Row
from cuetune.errors import CuetuneError


def read_workbook(path: Path, encoding: str, sheet: str | None = None) -> Iterator[Row]:
    """Rows of a sheet, by default the first that has some, under its first row of names; of formulas the last values.

    Raises CuetuneError where openpyxl is not installed, and for what is no workbook or has no such sheet.
    """
    try:
        import openpyxl
    except ImportError:
        raise CuetuneError(
            f'{path}: Excel files need openpyxl: pip install "cuetune[excel]", or save the sheet as CSV.'
        ) from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of styles and extensions, which hold no cells
            book = openpyxl.load_workbook(path, read_only=True, data_only=True)
    except (BadZipFile, KeyError, ValueError, OSError, openpyxl.utils.exceptions.InvalidFileException) as error:
        if isinstance(error, PermissionError):
            raise
        raise CuetuneError(f"{path}: not a whole Excel workbook ({error}); save it again, or as CSV.") from error
    try:
        yield from _rows(path, book, sheet)
    finally:
        book.close()


def _rows(path: Path, book: Any, sheet: str | None) -> Iterator[Row]:
    if sheet is not None and sheet not in book.sheetnames:
        raise CuetuneError(f"{path}: no sheet {sheet!r}; it has {', '.join(map(repr, book.sheetnames))}.")
    name = sheet or next((each for each in book.sheetnames if _has_rows(book[each])), book.sheetnames[0])
    note = f"of {len(book.sheetnames)} sheets {name!r} is read; name another with {path.name}@SHEET"
    rows = book[name].iter_rows(values_only=True)
    header = next((cells for cells in rows if any(cell is not None for cell in cells)), None)
    if header is None:
        raise CuetuneError(f"{path}: sheet {name!r} is empty; expected a row of column names.")
    names = column_names(["" if cell is None else str(cell) for cell in header])
    for number, cells in enumerate(rows, start=1):
        if any(cell is not None for cell in cells):
            values = {
                column: cell
                for column, cell in zip(names, cells, strict=False)
                if cell is not None or not is_nameless(column)
            }
            yield Row(f"{path.name}, row {number}", values, note if sheet is None and len(book.sheetnames) > 1 else "")
            note = ""


def _has_rows(sheet: Any) -> bool:
    """Whether there is a row of cells under another one."""
    rows = sheet.iter_rows(values_only=True) if hasattr(sheet, "iter_rows") else ()
    filled = (cells for cells in rows if any(cell is not None for cell in cells))
    return len(list(islice(filled, 2))) == 2
