"""The floors: methods that train nothing, see every row once and keep sums; a pool that is worth its cost beats them.

Both go by what the frozen model says of a row, z (D), and add up: neither the order of tasks nor how rows are dealt
into them changes the sums, and so nothing is forgotten. Their memory does not grow with the rows.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from cuetune.data.row import Example
from cuetune.data.splits import first_of_each_label
from cuetune.data.task import Task
from cuetune.methods.continual.learner import Learner
from cuetune.methods.continual.ridge import FIT, WIDTH, RandomRidge, one_hot
from cuetune.tuning.progress import Reporter
from cuetune.tuning.runs import TaskData

ROWS_AT_ONCE = 256


class Summing(Learner):
    """A learner that goes through a task's features once and adds them up."""

    def _learn(
        self, data: TaskData, new: Sequence[str], reporters: Sequence[Reporter], folder: Path | None
    ) -> dict[str, Any]:
        started = time.perf_counter()
        known = [*self.labels, *new]
        rows = data.all_rows
        self._begin(len(known), rows)
        for reporter in reporters:
            reporter.start(len(rows), 0)
        try:
            for done, z, y in self._batches(rows, data.task, known):
                self._add(z, y)
                for reporter in reporters:
                    reporter.step(done, {})
        finally:
            for reporter in reporters:
                reporter.stop()
        self._end()
        return {"steps": 0, "seconds": time.perf_counter() - started}

    def _batches(
        self, rows: Sequence[Example], task: Task, known: Sequence[str]
    ) -> Iterator[tuple[int, Tensor, Tensor]]:
        """Rows done, features (B, D) and one-hot labels (B, C), both float64, of some rows at a time."""
        for first in range(0, len(rows), ROWS_AT_ONCE):
            some = rows[first : first + ROWS_AT_ONCE]
            yield first + len(some), self.features(some, task).double(), one_hot(some, known)

    def _logits(self, examples: Sequence[Example]) -> Tensor:
        return self.scores(self.features(examples))

    def _begin(self, n_labels: int, rows: Sequence[Example]) -> None:
        """Make room for a task's labels and rows."""
        raise NotImplementedError

    def _add(self, z: Tensor, y: Tensor) -> None:
        """Count features (B, D) with their one-hot labels (B, C)."""
        raise NotImplementedError

    def _end(self) -> None:
        """All rows of the task were counted."""


class SimpleCIL(Summing):
    """Every label is the mean of its rows' features, and a row is of the label whose mean is nearest in angle.

    logit_c = cos(z, mean_c) (Zhou et al. 2023, "Revisiting class-incremental learning with pre-trained models").
    """

    name: ClassVar[str] = "simple-cil"
    described: ClassVar[str] = "class means of frozen features (SimpleCIL, Zhou et al. 2023)"

    sums: Tensor  # (C, D)
    counts: Tensor  # (C,)

    def _begin(self, n_labels: int, rows: Sequence[Example]) -> None:
        sums = torch.zeros(n_labels, int(self.backbone.state_width), dtype=torch.float64)
        counts = torch.zeros(n_labels, dtype=torch.float64)
        if self.labels:
            sums[: len(self.labels)], counts[: len(self.labels)] = self.sums, self.counts
        self.sums, self.counts = sums, counts

    def _add(self, z: Tensor, y: Tensor) -> None:
        self.sums += y.T @ z
        self.counts += y.sum(dim=0)

    def scores(self, states: Tensor) -> Tensor:
        means = F.normalize(self.sums / self.counts[:, None].clamp(min=1), dim=-1)
        return F.normalize(states.double(), dim=-1) @ means.T

    def _state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        return ({"sums": self.sums, "counts": self.counts} if self.labels else {}), {}

    def _restore(self, tensors: Mapping[str, Tensor], own: Mapping[str, Any]) -> None:
        if self.labels:
            self.sums, self.counts = tensors["sums"].clone(), tensors["counts"].clone()


class RanPAC(Summing):
    """Ridge regression on a random projection of the features (McDonnell et al., NeurIPS 2023), see `RandomRidge`.

    `width` is M (the paper's 10,000 take 800 MB for G), `ridge` a fixed r.
    """

    name: ClassVar[str] = "ranpac"
    described: ClassVar[str] = "ridge regression on random features (RanPAC, McDonnell et al. 2023)"
    defaults: ClassVar[Mapping[str, Any]] = {"width": WIDTH, "ridge": 0.0}

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        width, ridge = int(self.options["width"]), float(self.options["ridge"])
        self.regression = RandomRidge(int(self.backbone.state_width), width, self.seed, ridge)

    def _begin(self, n_labels: int, rows: Sequence[Example]) -> None:
        self.regression.begin(n_labels, torch.tensor(first_of_each_label(rows, FIT)))

    def _add(self, z: Tensor, y: Tensor) -> None:
        self.regression.add(z, y)

    def _end(self) -> None:
        self.regression.end()

    def scores(self, states: Tensor) -> Tensor:
        return self.regression.scores(states)

    def _state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        return self.regression.state()

    def _restore(self, tensors: Mapping[str, Tensor], own: Mapping[str, Any]) -> None:
        self.regression.restore(tensors, own)
