"""Content of rows that is read and decoded once, and kept: what whoever comes later asks of a row is there already."""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from cuetune.support.spill_table import SpillTable


@dataclass(frozen=True, eq=False)
class Decoded:
    """The content of one row, which stands in its example in place of the path or the bytes.

    source: what stood there. preparation: what it was prepared by, such as a `Preprocessing`; whoever prepares rows
    otherwise decodes the source again. table, place: where the pixels of an image (3, H, W), of a video (T, 3, H, W),
    or the wave (n,) of audio are kept. repeated: of a video with fewer than T frames, how many were taken again.
    key: as of `content_key`. header: what its header says, where rows are told apart by it: of an image whether it has
    more than eight bits a channel, of audio (rate, channels, seconds). Both are empty where nobody asked for them.
    """

    source: Any
    preparation: Any
    table: SpillTable
    place: Hashable
    repeated: int = 0
    key: str = ""
    header: Any = None

    @property
    def values(self) -> Tensor:
        """The pixels or the wave, not to be written to."""
        return self.table.of(self.place)


def source_of(content: Any) -> Any:
    """What a cell held before it was decoded."""
    return content.source if isinstance(content, Decoded) else content
