"""CSV cells of any length: a review may be longer than the 128 KiB that Python's csv allows by default."""

import csv
import threading
from collections.abc import Iterator
from typing import Any

LONGEST = 2**31 - 1
_LOCK = threading.Lock()  # the limit belongs to the whole process


class LongCells(Iterator[list[str]]):
    """A `csv.reader` without the module's limit, which is as the program left it before and after each row."""

    def __init__(self, reader: Any) -> None:
        self._reader = reader

    def __next__(self) -> list[str]:
        with _LOCK:
            limit = csv.field_size_limit(LONGEST)
            try:
                row: list[str] = next(self._reader)
            finally:
                csv.field_size_limit(limit)
        return row

    @property
    def line_num(self) -> int:
        """Lines read so far; cells may span several."""
        return int(self._reader.line_num)
