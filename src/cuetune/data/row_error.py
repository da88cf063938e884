"""A row that cannot be used, and why."""

from typing import Literal

from cuetune.errors import CuetuneError

Kind = Literal["column", "text", "unlabelled", "unknown", "cells"]


class RowError(CuetuneError):
    """One row that a task cannot read.

    kind: what is missing: the whole column, the text, the label, one that the task knows, or the end of a cell.
    short: where and what, without what was expected, for a list of such rows.
    """

    def __init__(self, kind: Kind, short: str, expected: str) -> None:
        super().__init__(f"{short}; {expected}")
        self.kind, self.short = kind, short
