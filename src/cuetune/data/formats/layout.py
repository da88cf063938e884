"""How a text table is written."""

from dataclasses import dataclass
from typing import Literal

from cuetune.errors import CuetuneError


@dataclass(frozen=True)
class Layout:
    """How a text table is written, where the file does not say so itself.

    delimiter: between cells; None finds it. quoting: "none" takes quotation marks for part of the texts. column_names:
    of a file without a header row.
    """

    delimiter: str | None = None
    quoting: Literal["standard", "none"] = "standard"
    column_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.quoting not in ("standard", "none"):
            raise CuetuneError(f"--quoting {self.quoting}: expected 'standard' or 'none'.")
        if self.delimiter is not None and len(self.delimiter) != 1:
            raise CuetuneError(f"--delimiter {self.delimiter!r}: expected one character, e.g. ';'.")
        if len(set(self.column_names)) < len(self.column_names):
            raise CuetuneError(f"--column-names {','.join(self.column_names)}: a name stands there twice.")
