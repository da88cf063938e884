"""Pictures that a run decodes once: their pixels as bytes, in memory or in a file, read back by number."""

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from cuetune.backbones.preprocessing import Preprocessing
from cuetune.errors import CuetuneError
from cuetune.tasks.decoding import decode
from cuetune.tasks.skipped import Skipped
from cuetune.tasks.task import Row
from cuetune.tuning.states import StateTable


class DecodedPictures:
    """The pixels of a run's pictures as bytes. rows: those that could be read, in order.

    folder: of a table too large for memory; its file vanishes with its last user. 150 kB for a picture of 224 x 224.
    Raises CuetuneError when no picture can be read.
    """

    def __init__(
        self,
        rows: Sequence[Row],
        preprocessing: Preprocessing,
        column: str = "image",
        folder: Path | None = None,
        skipped: Skipped | None = None,
    ) -> None:
        self.shape = preprocessing.shape
        self.rows: list[Row] = []
        size = math.prod(self.shape)
        self._table = StateTable(dict.fromkeys(range(len(rows)), 1), size, torch.uint8, folder)
        for kept, pixels in decode(rows, preprocessing, column, skipped):
            numbers = range(len(self.rows), len(self.rows) + len(kept))
            self._table.put(numbers, pixels.flatten(1))
            self.rows += kept
        if not self.rows:
            first = f": {skipped.reasons[0]}" if skipped and skipped.reasons else "."
            raise CuetuneError(f"none of {len(rows)} pictures can be read{first}")

    def of(self, numbers: Sequence[int]) -> Tensor:
        """(B, 3, H, W) uint8 of these pictures, or (B, T, 3, H, W) of clips, in this order."""
        return self._table.of(numbers).view(-1, *self.shape)
