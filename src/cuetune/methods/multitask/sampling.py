"""Stochastic task sampling: every batch mixes some of the tasks (MPT, Wang et al., ICLR 2023, section 3.2)."""

import math
from collections.abc import Callable, Sequence

import torch

from cuetune.errors import CuetuneError
from cuetune.tuning.batches import Epochs, StepRows

CAP = 2**18  # rows of a task that count at most, where mixing is capped (the examples-proportional mixing of T5)

# How likely each task is, from the rows that it has; all are normalised to sum to one.
MIXINGS: dict[str, Callable[[int], float]] = {
    "uniform": lambda rows: 1.0,
    "proportional": float,
    "capped": lambda rows: float(min(rows, CAP)),
    "stratified": lambda rows: math.log(max(rows, 2)),
}


def probabilities(sizes: Sequence[int], mixing: str) -> list[float]:
    """q_k of K tasks with these numbers of rows. Raises CuetuneError for an unknown mixing."""
    if mixing not in MIXINGS:
        raise CuetuneError(f"unknown mixing {mixing!r}; choose one of {', '.join(MIXINGS)}.")
    weights = [MIXINGS[mixing](size) for size in sizes]
    return [weight / sum(weights) for weight in weights]


class StochasticTasks:
    """Batches of `size` rows from K' tasks each, K' drawn uniformly from 2 to K anew for every step.

    With K' tasks drawn (with replacement, by `mixing`), each gives size // K' rows and one of them, chosen at random,
    the rest; where size <= K', `size` tasks are drawn and give a row each. Every task goes through its rows in passes
    of its own. stochastic=False mixes all tasks in every batch instead. Which rows a step has follows from seed and
    step alone.
    """

    def __init__(
        self, sizes: Sequence[int], size: int, *, mixing: str = "proportional", stochastic: bool = True, seed: int = 0
    ) -> None:
        self.size, self.stochastic, self.seed = size, stochastic, seed
        self._likely = torch.tensor(probabilities(sizes, mixing))
        self._rows = [Epochs(n_rows, 1, seed * 7919 + number) for number, n_rows in enumerate(sizes)]
        self._restart()

    def of(self, step: int) -> StepRows:
        if step < len(self._drawn):
            return self._drawn[step]
        while len(self._drawn) <= step:
            self._drawn.append(self._next())
        return self._drawn[step]

    def _restart(self) -> None:
        self._generator = torch.Generator().manual_seed(self.seed)
        self._cursors = [0] * len(self._rows)
        self._drawn: list[StepRows] = []

    def _next(self) -> StepRows:
        counts: dict[int, int] = {}
        for task, count in self.shares():
            counts[task] = counts.get(task, 0) + count
        return [(task, [self._take(task) for _ in range(counts[task])]) for task in sorted(counts)]

    def shares(self) -> list[tuple[int, int]]:
        """The tasks that one batch draws, and how many rows each draw gives; a task may be drawn more than once."""
        wanted = self._tasks_wanted()
        if self.size <= wanted:
            return [(task, 1) for task in self._draw(self.size)]
        tasks = self._draw(wanted) if self.stochastic else list(range(len(self._rows)))
        shares = [(task, self.size // wanted) for task in tasks]
        rest = self.size % wanted
        return [*shares, (tasks[self._below(wanted)], rest)] if rest else shares

    def _tasks_wanted(self) -> int:
        """K' in 2…K, or all."""
        n_tasks = len(self._rows)
        return 2 + self._below(n_tasks - 1) if self.stochastic and n_tasks > 1 else n_tasks

    def _draw(self, count: int) -> list[int]:
        return torch.multinomial(self._likely, count, replacement=True, generator=self._generator).tolist()

    def _below(self, limit: int) -> int:
        return int(torch.randint(limit, (1,), generator=self._generator))

    def _take(self, task: int) -> int:
        self._cursors[task] += 1
        return self._rows[task].row(self._cursors[task] - 1)
