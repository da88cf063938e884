"""Scores of predicted labels with confidence intervals: accuracy, macro-F1, confusion matrix, calibration error."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

RESAMPLES = 2000
BINS = 10
LOWER_IS_BETTER = {"word_error_rate", "mae", "rmse"}
NAMES = {"r2": "R²", "mae": "MAE", "rmse": "RMSE", "pearson": "Pearson", "spearman": "Spearman"}
# Where values lie, unless from 0 to 1.
WITHIN = {
    "pearson": (-1.0, 1.0),
    "spearman": (-1.0, 1.0),
    "r2": (-float("inf"), 1.0),
    "mae": (0.0, float("inf")),
    "rmse": (0.0, float("inf")),
    "word_error_rate": (0.0, float("inf")),
}


@dataclass(frozen=True)
class Score:
    """A value with its 95 % confidence interval (percentile bootstrap over the rows)."""

    value: float
    low: float
    high: float

    def to_dict(self) -> dict[str, float]:
        return {"value": self.value, "low": self.low, "high": self.high}

    def __str__(self) -> str:
        return f"{figure(self.value)} ({figure(self.low)}–{figure(self.high)})"


def figure(value: float) -> str:
    """Three decimals; three digits where those would all be 0, as of the errors of very small numbers."""
    return f"{value:.3g}" if 0 < abs(value) < 5e-4 else f"{value:.3f}"


def metric_name(metric: str) -> str:
    """A metric's name for a reader."""
    return NAMES.get(metric, metric.replace("_", "-"))


def best_of(metric: str, values: Iterable[float]) -> float:
    """The best of several values of a metric."""
    return min(values) if metric in LOWER_IS_BETTER else max(values)


def confusion(truth: Sequence[int], predicted: Sequence[int], n_labels: int) -> np.ndarray:
    """(C, C) counts: rows are the true labels, columns the predicted ones."""
    cells = np.asarray(truth, dtype=np.int64) * n_labels + np.asarray(predicted, dtype=np.int64)
    return np.bincount(cells, minlength=n_labels * n_labels).reshape(n_labels, n_labels)


def classification_scores(counts: np.ndarray, seed: int = 0) -> dict[str, Score]:
    """Accuracy and macro-F1 from a confusion matrix (C, C), with intervals.

    Resampling rows with replacement is drawing new counts for the cells of the matrix, so the bootstrap costs O(C²) a
    draw whatever the number of rows.
    """
    total = int(counts.sum())
    draws = np.random.default_rng(seed).multinomial(total, counts.ravel() / total, size=RESAMPLES)
    resampled = draws.reshape(-1, *counts.shape)
    return {
        "accuracy": _score(_accuracy(counts[None])[0], _accuracy(resampled)),
        "macro_f1": _score(_macro_f1(counts[None])[0], _macro_f1(resampled)),
    }


def _score(value: float, draws: np.ndarray) -> Score:
    low, high = np.quantile(draws, [0.025, 0.975])
    return Score(float(value), float(low), float(high))


def _accuracy(counts: np.ndarray) -> np.ndarray:
    return counts.trace(axis1=1, axis2=2) / counts.sum(axis=(1, 2))


def _macro_f1(counts: np.ndarray) -> np.ndarray:
    """Mean F1 over labels that occur as truth or prediction, as scikit-learn's `f1_score(average="macro")` has it."""
    right = np.diagonal(counts, axis1=1, axis2=2)
    occurs = counts.sum(axis=2) + counts.sum(axis=1)
    f1 = np.divide(2 * right, occurs, out=np.zeros(right.shape), where=occurs > 0)
    return f1.sum(axis=1) / (occurs > 0).sum(axis=1)


def calibration_error(confidence: Sequence[float], right: Sequence[bool]) -> float:
    """Expected calibration error: mean gap between confidence and accuracy over ten equal bins of confidence."""
    sure, hit = np.asarray(confidence, dtype=float), np.asarray(right, dtype=float)
    bins = np.minimum((sure * BINS).astype(int), BINS - 1)
    weight = np.bincount(bins, minlength=BINS)
    gap = np.abs(np.bincount(bins, sure, BINS) - np.bincount(bins, hit, BINS))
    return float(gap.sum() / max(1, weight.sum()))


def negative_log_likelihood(probabilities: Sequence[Sequence[float]], truth: Sequence[int]) -> float:
    """Mean of -log Pr(true label)."""
    chosen = np.asarray(probabilities, dtype=float)[np.arange(len(truth)), np.asarray(truth)]
    return float(-np.log(np.maximum(chosen, 1e-12)).mean())


def exact_match(predicted: Sequence[str], truth: Sequence[str], seed: int = 0) -> dict[str, Any]:
    """For written answers: the share that equals the target but for case and white space, with its interval."""
    right = [" ".join(p.lower().split()) == " ".join(t.lower().split()) for p, t in zip(predicted, truth, strict=True)]
    counts = np.array([[sum(right), len(right) - sum(right)], [0, 0]])
    return {"exact_match": classification_scores(counts, seed)["accuracy"]}
