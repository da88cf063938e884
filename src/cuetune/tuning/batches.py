"""Which rows a step sees. Every order follows from the seed and the step alone, so that a resumed run sees the same."""

from collections.abc import Sequence
from typing import Protocol

import torch

# One step's rows by task: (number of the task in the run, numbers of its rows).
StepRows = list[tuple[int, list[int]]]


class Batches(Protocol):
    """Chooses the rows of each step."""

    def of(self, step: int) -> StepRows:
        """The rows of step 0, 1, …, each task at most once."""


class Epochs:
    """Rows of one task in passes over its data, each pass in an order of its own.

    n_rows: of the data. size: rows in a step.
    """

    def __init__(self, n_rows: int, size: int, seed: int) -> None:
        self.n_rows, self.size, self.seed = n_rows, size, seed
        self._orders: dict[int, list[int]] = {}

    def of(self, step: int) -> StepRows:
        return [(0, [self.row(place) for place in range(step * self.size, (step + 1) * self.size)])]

    def row(self, place: int) -> int:
        """Which row stands at this place of all passes one behind the other."""
        epoch, within = divmod(place, self.n_rows)
        if epoch not in self._orders:
            generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
            self._orders = {epoch: torch.randperm(self.n_rows, generator=generator).tolist()}
        return self._orders[epoch][within]


def visited(batches: Batches, steps: Sequence[int], n_tasks: int) -> list[list[int]]:
    """The rows of each task that these steps see, each once, in the order of their first visit."""
    seen: list[dict[int, None]] = [{} for _ in range(n_tasks)]
    for step in steps:
        for task, numbers in batches.of(step):
            seen[task].update(dict.fromkeys(numbers))
    return [list(rows) for rows in seen]
