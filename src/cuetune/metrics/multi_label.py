"""Scores of several labels for each row: micro-F1, macro-F1, subset accuracy; precision, recall and F1 of each label.

As scikit-learn has them with `zero_division=0`: a label that no row has and no answer gives counts as F1 = 0.
"""

import numpy as np

from cuetune.metrics.classification import Score
from cuetune.metrics.resampling import intervals


def multi_label_scores(truth: np.ndarray, found: np.ndarray, seed: int = 0) -> dict[str, Score]:
    """Scores with intervals. truth, found: (N, C) True where a row has, or was given, a label."""
    both, either = (truth & found).astype(float), truth.astype(float) + found
    whole = (truth == found).all(axis=1).astype(float)

    def measure(counts: np.ndarray) -> dict[str, np.ndarray]:
        right, said = counts @ both, counts @ either  # (r, C) true positives, and true and found labels together
        return {
            "micro_f1": _ratio(2 * right.sum(axis=1), said.sum(axis=1)),
            "macro_f1": _ratio(2 * right, said).mean(axis=1),
            "subset_accuracy": counts @ whole / counts.sum(axis=1),
        }

    return intervals(measure, len(truth), seed)


def micro_f1(truth: np.ndarray, found: np.ndarray) -> float:
    """F1 of all rows and labels together: 2 TP / (2 TP + FP + FN)."""
    return float(_ratio(2.0 * (truth & found).sum(), float(truth.sum() + found.sum())))


def by_label(truth: np.ndarray, found: np.ndarray) -> list[dict[str, float]]:
    """Precision, recall, F1 and support (rows that have it) of each label."""
    right, there, said = (truth & found).sum(axis=0), truth.sum(axis=0), found.sum(axis=0)
    columns = zip(_ratio(right, said), _ratio(right, there), _ratio(2 * right, there + said), there, strict=True)
    return [
        {"precision": float(precision), "recall": float(recall), "f1": float(f1), "support": int(support)}
        for precision, recall, f1, support in columns
    ]


def _ratio(above: np.ndarray | float, below: np.ndarray | float) -> np.ndarray:
    """above / below, 0 where nothing is below."""
    upper, lower = np.asarray(above, dtype=float), np.asarray(below, dtype=float)
    return np.divide(upper, lower, out=np.zeros(lower.shape), where=lower > 0)
