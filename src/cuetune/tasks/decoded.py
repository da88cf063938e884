"""Content of rows that is read and decoded once, and kept: what whoever comes later asks of a row is there already."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from cuetune.support.spill_table import SpillTable


@dataclass(frozen=True, eq=False)
class Decoded:
    """The content of one row, which stands in its example in place of the path or the bytes.

    source: what stood there. preparation: what it was prepared by, such as a `Preprocessing`; whoever prepares rows
    otherwise decodes the source again. key: as of `content_key`, where it was asked for. table, number: where the
    pixels of an image (3, H, W), of a video (T, 3, H, W), or the wave (n,) of audio are kept.
    repeated: of a video with fewer than T frames, how many were taken again.
    """

    source: Any
    preparation: Any
    table: SpillTable
    number: int
    repeated: int = 0
    key: str = ""

    @property
    def values(self) -> Tensor:
        """The pixels or the wave, not to be written to."""
        return self.table.of(self.number)


def source_of(content: Any) -> Any:
    """What a cell held before it was decoded."""
    return content.source if isinstance(content, Decoded) else content
