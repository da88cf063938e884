"""Scores of predicted numbers: Pearson's and Spearman's correlation, R², mean absolute and root mean square error."""

import numpy as np

from cuetune.metrics.classification import Score
from cuetune.metrics.resampling import intervals


def regression_scores(truth: np.ndarray, found: np.ndarray, seed: int = 0) -> dict[str, Score]:
    """Scores with intervals. truth, found: (N,) numbers. A correlation with what does not vary counts as 0."""
    error = found - truth
    orders = [_Order(truth), _Order(found)]

    def measure(counts: np.ndarray) -> dict[str, np.ndarray]:
        total = counts.sum(axis=1)
        centred = truth - truth.mean()
        square = counts @ error**2 / total
        spread = counts @ centred**2 / total - (counts @ centred / total) ** 2
        ranks = [order.ranks(counts) for order in orders]
        return {
            "pearson": correlation(counts, truth[None], found[None]),
            "spearman": correlation(counts, *ranks),
            "r2": np.where(spread > 0, 1 - square / np.where(spread > 0, spread, 1), 0.0),
            "mae": counts @ np.abs(error) / total,
            "rmse": np.sqrt(square),
        }

    return intervals(measure, len(truth), seed)


def pearson(truth: np.ndarray, found: np.ndarray) -> float:
    """Pearson's correlation of (N,) numbers; 0 where one side does not vary."""
    return float(correlation(np.ones((1, len(truth))), truth[None], found[None])[0])


def correlation(counts: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(r,) Pearson's correlation of x and y (r or 1, N), each row counted as often as (r, N) says."""
    weights = counts / counts.sum(axis=1, keepdims=True)
    x = x - (weights * x).sum(axis=1, keepdims=True)
    y = y - (weights * y).sum(axis=1, keepdims=True)
    below = np.sqrt((weights * x**2).sum(axis=1) * (weights * y**2).sum(axis=1))
    above = (weights * x * y).sum(axis=1)
    return np.divide(above, below, out=np.zeros(len(counts)), where=below > 1e-300)


class _Order:
    """Numbers (N,) in rising order, and where the next different one begins."""

    def __init__(self, values: np.ndarray) -> None:
        self.order = np.argsort(values, kind="stable")
        ordered = values[self.order]
        self.first = np.searchsorted(ordered, ordered, side="left")
        self.last = np.searchsorted(ordered, ordered, side="right")

    def ranks(self, counts: np.ndarray) -> np.ndarray:
        """(r, N) mean rank of each number among (r, N) counted ones: equal numbers share theirs."""
        below = np.concatenate([np.zeros((len(counts), 1)), counts[:, self.order].cumsum(axis=1)], axis=1)
        found = np.empty_like(counts)
        found[:, self.order] = (below[:, self.first] + below[:, self.last] + 1) / 2
        return found
