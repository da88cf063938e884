"""Ridge regression on a random projection of features, from sums alone (RanPAC, McDonnell et al., NeurIPS 2023)."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from cuetune.data.row import Example
from cuetune.errors import CuetuneError

WIDTH = 2000  # columns of the projection; the paper's 10,000 take 800 MB of sums
LARGEST = 2**27  # numbers of a projection, a gigabyte
RIDGES = tuple(10.0**power for power in range(-8, 9))
FIT = 0.8  # of each label's rows in a task; the ridge is chosen on the rest


def one_hot(rows: Sequence[Example], known: Sequence[str]) -> Tensor:
    """(B, C) float64: which of these labels each row has."""
    index = {label: number for number, label in enumerate(known)}
    return F.one_hot(torch.tensor([index[str(row.label)] for row in rows]), len(known)).double()


class Sums:
    """G = Σ hᵀh (M, M), Q = Σ hᵀy (M, C) and how many rows they are of."""

    def __init__(self, M: int, C: int) -> None:
        self.G, self.Q = torch.zeros(M, M, dtype=torch.float64), torch.zeros(M, C, dtype=torch.float64)
        self.rows = 0

    def add(self, h: Tensor, y: Tensor) -> None:
        self.G += h.T @ h
        self.Q += h.T @ y
        self.rows += len(h)


class RandomRidge:
    """h = ReLU(z W) with W (D, M) ~ N(0, 1), drawn once from the seed; scores are h (G + r I)⁻¹ Q.

    G = Σ hᵀh and Q = Σ hᵀy are over all rows of all tasks, in float64: their size follows from M and the labels.
    After each task r is that of 10⁻⁸ … 10⁸ with the smallest squared error on the last fifth of each label's rows in
    the task, for a head from the others; all of it from sums. fixed: another r, if it is not zero.
    Raises CuetuneError for M below one.
    """

    def __init__(self, D: int, M: int, seed: int, fixed: float = 0.0) -> None:
        if M < 1:
            raise CuetuneError(f"width {M}: a random projection needs at least one column; the paper's has 10,000.")
        if D * M > LARGEST:
            raise CuetuneError(
                f"width {M}: a projection of {D} x {M} numbers is too large; the paper's has 10,000 columns."
            )
        self.W = torch.randn(D, M, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        self.all, self.fixed, self.ridge = Sums(M, 0), fixed, fixed
        self._head: Tensor | None = None

    def begin(self, n_labels: int, fits: Tensor) -> None:
        """Make room for a task. fits: (N,) bool, those of its rows that the ridge is not chosen on."""
        self.all.Q = F.pad(self.all.Q, (0, n_labels - self.all.Q.shape[1]))
        self._fits, (self._fit, self._check) = fits, (Sums(self.W.shape[1], n_labels) for _ in range(2))
        self._few: list[tuple[Tensor, Tensor]] | None = [] if int(fits.sum()) < self.W.shape[1] else None
        self._head = None

    def add(self, z: Tensor, y: Tensor) -> None:
        """Count the task's next rows: features (B, D) with one-hot labels (B, C)."""
        h = self._projected(z)
        fits, self._fits = self._fits[: len(h)], self._fits[len(h) :]
        self._fit.add(h[fits], y[fits])
        self._check.add(h[~fits], y[~fits])
        if self._few is not None:
            self._few.append((h[fits], y[fits]))

    def end(self) -> None:
        """All rows of the task were counted."""
        if not self.fixed:
            heads = of_few(*map(torch.cat, zip(*self._few, strict=True))) if self._few else of_sums(self._fit)
            self.ridge = best_ridge(heads, self._check)
        for part in (self._fit, self._check):
            self.all.G += part.G
            self.all.Q += part.Q
        del self._fit, self._check, self._fits, self._few

    def scores(self, z: Tensor) -> Tensor:
        """(B, C) of features (B, D)."""
        return self._projected(z) @ self.head

    @property
    def head(self) -> Tensor:
        """(M, C) = (G + r I)⁻¹ Q."""
        if self._head is None:
            G = self.all.G
            self._head = torch.linalg.solve(G + self.ridge * torch.eye(len(G), dtype=G.dtype), self.all.Q)
        return self._head

    def _projected(self, z: Tensor) -> Tensor:
        return (z.cpu().double() @ self.W).relu()

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """What `restore` takes: sums, and the ridge."""
        # W follows from the seed; a few of its numbers show whether it is the same one on another machine.
        return {"G": self.all.G, "Q": self.all.Q, "W_begins": self.W[0, :8]}, {"ridge": self.ridge}

    def restore(self, tensors: Mapping[str, Tensor], own: Mapping[str, Any]) -> None:
        """Become the one whose `state()` this was. Raises CuetuneError where W is another."""
        if not torch.equal(tensors["W_begins"], self.W[0, :8]):
            raise CuetuneError("this version of torch draws another random projection; start the stream anew.")
        self.all.G, self.all.Q, self.ridge = tensors["G"].clone(), tensors["Q"].clone(), float(own["ridge"])
        self._head = None


class Heads(NamedTuple):
    """Heads of all r by one decomposition: B_r = basis (right / (values + r)), (M, C); M columns, C labels."""

    values: Tensor  # (k,)
    basis: Tensor  # (M, k)
    right: Tensor  # (k, C)


def of_sums(fit: Sums) -> Heads:
    """From G = V λ Vᵀ: (G + r I)⁻¹ Q = V (Vᵀ Q / (λ + r))."""
    values, V = torch.linalg.eigh(fit.G)
    return Heads(values.clamp(min=0), V, V.T @ fit.Q)


def of_few(h: Tensor, y: Tensor) -> Heads:
    """The same from n rows h (n, M) and y (n, C), n < M, at the cost of n³ and not M³.

    From h hᵀ = U λ Uᵀ: (hᵀh + r I)⁻¹ hᵀ y = hᵀ (h hᵀ + r I)⁻¹ y = hᵀ U (Uᵀ y / (λ + r)).
    """
    values, U = torch.linalg.eigh(h @ h.T)
    return Heads(values.clamp(min=0), h.T @ U, U.T @ y)


def best_ridge(heads: Heads, check: Sums) -> float:
    """The r whose head has the smallest squared error on the rows of `check`, the larger of equals.

    Σ |y - hB|² = Σ|y|² - 2 tr(Bᵀ Q) + tr(Bᵀ G B), so that no row of them is needed again.
    """
    if not check.rows:
        return 1.0
    Q, G = heads.basis.T @ check.Q, heads.basis.T @ check.G @ heads.basis
    errors = []
    for ridge in RIDGES:
        B = heads.right / (heads.values + ridge)[:, None]
        errors.append(float((B * (G @ B)).sum() - 2 * (B * Q).sum()))
    return min(zip(errors, RIDGES, strict=True), key=lambda pair: (pair[0], -pair[1]))[1]
