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

from cuetune.errors import CuetuneError
from cuetune.methods.continual.learner import Learner
from cuetune.tasks.splits import first_of_each_label
from cuetune.tasks.task import Example
from cuetune.tuning.progress import Reporter
from cuetune.tuning.task_run import TaskData

ROWS_AT_ONCE = 256
RIDGES = tuple(10.0**power for power in range(-8, 9))
FIT = 0.8  # of each label's rows in a task; the ridge is chosen on the rest


class Summing(Learner):
    """A learner that goes through a task's features once and adds them up."""

    def _learn(
        self, data: TaskData, new: Sequence[str], reporters: Sequence[Reporter], folder: Path | None
    ) -> dict[str, Any]:
        started = time.perf_counter()
        known = [*self.labels, *new]
        self._begin(len(known), data)
        for reporter in reporters:
            reporter.start(len(data.train), 0)
        try:
            for done, z, y in self._batches(data, known):
                self._add(z, y)
                for reporter in reporters:
                    reporter.step(done, {})
        finally:
            for reporter in reporters:
                reporter.stop()
        self._end()
        return {"steps": 0, "seconds": time.perf_counter() - started}

    def _batches(self, data: TaskData, known: Sequence[str]) -> Iterator[tuple[int, Tensor, Tensor]]:
        """Rows done, features (B, D) and one-hot labels (B, C), both float64, of some rows at a time."""
        index = {label: number for number, label in enumerate(known)}
        for first in range(0, len(data.train), ROWS_AT_ONCE):
            rows = data.train[first : first + ROWS_AT_ONCE]
            numbers = torch.tensor([index[str(row.label)] for row in rows])
            yield first + len(rows), self.features(rows, data.task).double(), F.one_hot(numbers, len(known)).double()

    def _logits(self, examples: Sequence[Example]) -> Tensor:
        return self.scores(self.features(examples))

    def _begin(self, n_labels: int, data: TaskData) -> None:
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

    def _begin(self, n_labels: int, data: TaskData) -> None:
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
    """Ridge regression on a fixed random projection of the features (McDonnell et al., NeurIPS 2023).

    h = ReLU(z W) with W (D, M) ~ N(0, 1), drawn once from the seed; G += hᵀh and Q += hᵀy over all rows; the head is
    (G + r I)⁻¹ Q. After each task r is that of 10⁻⁸ … 10⁸ with the smallest squared error on the last fifth of each
    label's rows in the task, for a head from the others; all of it from sums. `width` is M (the paper's 10,000 take
    800 MB for G), `ridge` a fixed r.
    """

    name: ClassVar[str] = "ranpac"
    described: ClassVar[str] = "ridge regression on random features (RanPAC, McDonnell et al. 2023)"
    defaults: ClassVar[Mapping[str, Any]] = {"width": 2000, "ridge": 0.0}

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        M = int(self.options["width"])
        if M < 1:
            raise CuetuneError(f"width {M}: a random projection needs at least one column; the paper's has 10,000.")
        generator = torch.Generator().manual_seed(self.seed)
        self.W = torch.randn(int(self.backbone.state_width), M, generator=generator, dtype=torch.float64)
        self.G, self.Q = torch.zeros(M, M, dtype=torch.float64), torch.zeros(M, 0, dtype=torch.float64)
        self.ridge = float(self.options["ridge"])
        self._head: Tensor | None = None

    def _begin(self, n_labels: int, data: TaskData) -> None:
        self.Q = F.pad(self.Q, (0, n_labels - self.Q.shape[1]))
        self._fits = torch.tensor(first_of_each_label(data.train, FIT))
        self._fit, self._check = (_Sums.empty(len(self.G), n_labels) for _ in range(2))
        self._head = None

    def _add(self, z: Tensor, y: Tensor) -> None:
        h = (z @ self.W).relu()
        fits, self._fits = self._fits[: len(h)], self._fits[len(h) :]
        self._fit.add(h[fits], y[fits])
        self._check.add(h[~fits], y[~fits])

    def _end(self) -> None:
        if not self.options["ridge"]:
            self.ridge = best_ridge(self._fit, self._check)
        self.G += self._fit.G + self._check.G
        self.Q += self._fit.Q + self._check.Q
        del self._fit, self._check, self._fits

    @property
    def head(self) -> Tensor:
        """(M, C) = (G + r I)⁻¹ Q."""
        if self._head is None:
            self._head = torch.linalg.solve(self.G + self.ridge * torch.eye(len(self.G), dtype=self.G.dtype), self.Q)
        return self._head

    def scores(self, states: Tensor) -> Tensor:
        return (states.double() @ self.W).relu() @ self.head

    def _state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        # W follows from the seed; a few of its numbers show whether it is the same one on another machine.
        return {"G": self.G, "Q": self.Q, "W_begins": self.W[0, :8]}, {"ridge": self.ridge}

    def _restore(self, tensors: Mapping[str, Tensor], own: Mapping[str, Any]) -> None:
        if not torch.equal(tensors["W_begins"], self.W[0, :8]):
            raise CuetuneError("this version of torch draws another random projection; start the stream anew.")
        self.G, self.Q, self.ridge = tensors["G"].clone(), tensors["Q"].clone(), float(own["ridge"])
        self._head = None


class _Sums:
    """G = Σ hᵀh (M, M), Q = Σ hᵀy (M, C) and how many rows they are of."""

    def __init__(self, G: Tensor, Q: Tensor, rows: int = 0) -> None:
        self.G, self.Q, self.rows = G, Q, rows

    @classmethod
    def empty(cls, M: int, C: int) -> "_Sums":
        return cls(torch.zeros(M, M, dtype=torch.float64), torch.zeros(M, C, dtype=torch.float64))

    def add(self, h: Tensor, y: Tensor) -> None:
        self.G += h.T @ h
        self.Q += h.T @ y
        self.rows += len(h)


def best_ridge(fit: _Sums, check: _Sums) -> float:
    """The r whose head from `fit` has the smallest squared error on the rows of `check`, the larger of equals.

    Σ |y - hB|² = Σ|y|² - 2 tr(Bᵀ Q) + tr(Bᵀ G B), so that no row is needed again; with the eigenvectors V of `fit.G`
    the heads of all r cost one decomposition.
    """
    if not check.rows:
        return 1.0
    values, V = torch.linalg.eigh(fit.G)
    Q, Q_check = V.T @ fit.Q, V.T @ check.Q
    G_check = V.T @ check.G @ V
    errors = []
    for ridge in RIDGES:
        B = Q / (values.clamp(min=0) + ridge)[:, None]
        errors.append(float((B * (G_check @ B)).sum() - 2 * (B * Q_check).sum()))
    return min(zip(errors, RIDGES, strict=True), key=lambda pair: (pair[0], -pair[1]))[1]
