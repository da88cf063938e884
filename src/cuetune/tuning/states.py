"""States that a run computes once per example: kept in memory or in a file, read back row by row."""

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cuetune.backbones.text import TextBackbone
from cuetune.errors import CuetuneError
from cuetune.readouts import Readout
from cuetune.support.files import disk_error
from cuetune.tasks.rendering import Rendered

IN_MEMORY = 512 * 2**20  # bytes; larger caches are mapped from a file
TOKENS_AT_ONCE = 4096


class StateTable:
    """Room for the states of numbered rows. sizes: tokens by row. width, dtype: of a state. folder: of a large table.

    The file of a large table vanishes with its last user.
    """

    def __init__(self, sizes: Mapping[int, int], width: int, dtype: torch.dtype, folder: Path | None = None) -> None:
        ends = np.cumsum([0, *sizes.values()])
        self._spans = dict(zip(sizes, zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True), strict=True))
        self._table = _table((int(ends[-1]), width), dtype, folder)

    @property
    def bytes(self) -> int:
        """What the table takes."""
        return self._table.numel() * self._table.element_size()

    def put(self, numbers: Sequence[int], states: Tensor) -> None:
        """Keep the states (N, d) of these rows, which stand one behind the other."""
        done = 0
        for number in numbers:
            start, end = self._spans[number]
            self._table[start:end] = states[done : done + end - start]
            done += end - start

    def of(self, numbers: Sequence[int]) -> Tensor:
        """(N, d) the states of these rows, in this order."""
        return torch.cat([self._table[slice(*self._spans[number])] for number in numbers])


class FrozenStates:
    """The states of every training row as they enter `layer`, of the shared beginning too.

    rows: all training rows, rendered. n_tokens: positions that are kept free for the prompt. folder: see `StateTable`.
    Stored in the backbone's dtype, N · d numbers for N tokens.
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
        sizes = packed_sizes(readout, rows, shared, range(len(rows)))
        self.table = StateTable(sizes, backbone.width_at(layer), backbone.dtype, folder)
        self._shared = torch.empty((0, backbone.width_at(layer)), dtype=backbone.dtype)
        for numbers in batches_of(rows, range(len(rows))):
            packed = readout.rows([rows[number] for number in numbers], shared)
            states = backbone.states_at(layer, packed, n_tokens).cpu()
            self._shared = states[: self.n_shared]
            self.table.put(numbers, states[self.n_shared :])

    def of(self, numbers: Sequence[int]) -> Tensor:
        """(S + N, d) the shared beginning and these rows, in this order."""
        return torch.cat([self._shared, self.table.of(numbers)])


def packed_sizes(
    readout: Readout, rows: Sequence[Rendered], shared: Sequence[int], numbers: Iterable[int]
) -> dict[int, int]:
    """Tokens of each of these rows as the readout packs it."""
    chosen = list(numbers)
    sizes: list[int] = []
    for batch in batches_of(rows, chosen):
        sizes += readout.rows([rows[number] for number in batch], shared).lengths
    return dict(zip(chosen, sizes, strict=True))


def batches_of(rows: Sequence[Rendered], numbers: Iterable[int]) -> Iterator[list[int]]:
    """These rows in their order, as many at a time as stay within `TOKENS_AT_ONCE`."""
    batch: list[int] = []
    tokens = 0
    for number in numbers:
        if batch and tokens + len(rows[number].ids) > TOKENS_AT_ONCE:
            yield batch
            batch, tokens = [], 0
        batch.append(number)
        tokens += len(rows[number].ids)
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
            f"{disk_error(place, error)} The states that are kept for this run take {n_bytes / 2**30:.1f} GiB."
        ) from error
    return torch.from_numpy(raw).view(dtype).view(shape)
