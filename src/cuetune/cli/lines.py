"""Long listings as plain lines. A table is laid out cell by cell, milliseconds a row: thousands take long."""

from collections.abc import Sequence

from cuetune.support import console
from cuetune.visible import visible

MOST_IN_TABLE = 200  # rows; nobody sees more of them at once
WIDEST = 40  # columns of a terminal that a cell is padded to; what is longer is shown whole


def show_lines(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """The rows as lines under their headings, aligned, each whole on one line."""
    cells = [[visible(cell) for cell in row] for row in (headings, *rows)]
    widths = [max(min(console.width(cell), WIDEST) for cell in column) for column in zip(*cells, strict=True)]
    out = console.target().file
    for row in cells:
        padded = (cell + " " * (width - console.width(cell)) for cell, width in zip(row, widths, strict=True))
        out.write("  ".join(padded).rstrip() + "\n")
    out.flush()
