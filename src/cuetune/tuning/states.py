"""Frozen states below a late prompt: computed once per example, kept in memory or in a file, read back row by row."""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cuetune.backbones.text import TextBackbone
from cuetune.errors import CuetuneError
from cuetune.files import disk_error
from cuetune.readouts import Readout
from cuetune.tasks.rendering import Rendered

IN_MEMORY = 512 * 2**20  # bytes; larger caches are mapped from a file
TOKENS_AT_ONCE = 4096


class FrozenStates:
    """The states of every training row as they enter `layer`, of the shared beginning too.

    rows: all training rows, rendered. n_tokens: positions that are kept free for the prompt. folder: where a large
    cache goes; the file is removed when the run ends. Stored in the backbone's dtype, N · d numbers for N tokens.
    """

    def __init__(
        self,
        backbone: TextBackbone,
        readout: Readout,
        rows: Sequence[Rendered],
        shared: Sequence[int],
        layer: int,
        n_tokens: int,
        folder: Path | None = None,
    ) -> None:
        self.layer, self.n_shared = layer, len(readout.rows(rows[:1], shared).shared)
        sizes = [n for batch in _batches(rows) for n in readout.rows(batch, shared).lengths]
        ends = np.cumsum([0, *sizes])
        self._starts, self._ends = ends[:-1], ends[1:]
        self._table = _table((int(ends[-1]), backbone.width_at(layer)), backbone.dtype, folder)
        self._shared = torch.empty((0, backbone.width_at(layer)), dtype=backbone.dtype)
        done = 0
        for batch in _batches(rows):
            states = backbone.states_at(layer, readout.rows(batch, shared), n_tokens).cpu()
            self._shared = states[: self.n_shared]
            self._table[done : done + len(states) - self.n_shared] = states[self.n_shared :]
            done += len(states) - self.n_shared

    @property
    def bytes(self) -> int:
        """What the cache takes."""
        return self._table.numel() * self._table.element_size()

    def of(self, numbers: Sequence[int]) -> Tensor:
        """(S + N, d) the shared beginning and these rows, in this order."""
        spans = [self._table[self._starts[number] : self._ends[number]] for number in numbers]
        return torch.cat([self._shared, *spans])


def _batches(rows: Sequence[Rendered]) -> Iterator[list[Rendered]]:
    """Neighbouring rows, within `TOKENS_AT_ONCE`."""
    batch: list[Rendered] = []
    tokens = 0
    for row in rows:
        if batch and tokens + len(row.ids) > TOKENS_AT_ONCE:
            yield batch
            batch, tokens = [], 0
        batch.append(row)
        tokens += len(row.ids)
    if batch:
        yield batch


def _table(shape: tuple[int, int], dtype: torch.dtype, folder: Path | None) -> Tensor:
    """Room for (N, d) numbers; a large one in a file that vanishes with its last user."""
    n_bytes = shape[0] * shape[1] * torch.empty((), dtype=dtype).element_size()
    if n_bytes <= IN_MEMORY:
        return torch.empty(shape, dtype=dtype)
    place = folder or Path(tempfile.gettempdir())
    try:
        place.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=place) as stream:
            stream.truncate(n_bytes)
            raw = np.memmap(stream, dtype=np.uint8, mode="r+", shape=(n_bytes,))
    except OSError as error:
        raise CuetuneError(
            f"{disk_error(place, error)} The states below a late prompt take {n_bytes / 2**30:.1f} GiB."
        ) from error
    return torch.from_numpy(raw).view(dtype).view(shape)
