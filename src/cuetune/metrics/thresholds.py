"""From which probability a label is given: the threshold with the best F1 on validation rows, label by label."""

import numpy as np

HALF = 0.5


def best_thresholds(values: np.ndarray, truth: np.ndarray) -> list[float]:
    """A threshold for each label. values: (N, C) probabilities. truth: (N, C) True where a row has the label."""
    return [best_threshold(values[:, label], truth[:, label]) for label in range(values.shape[1])]


def best_threshold(values: np.ndarray, truth: np.ndarray) -> float:
    """The threshold t for which "value >= t" has the highest F1 against truth (N,); of equal ones that nearest to 0.5.

    Only one half, the middles between neighbouring values and what lies below them all can differ in F1. One half where
    no row has the label.
    """
    if not truth.any():
        return HALF
    ordered = np.unique(values)
    candidates = np.concatenate([[ordered[0] / 2, HALF], (ordered[1:] + ordered[:-1]) / 2])
    rising = np.sort(values)
    given = len(values) - np.searchsorted(rising, candidates, side="left")
    right = truth.sum() - np.searchsorted(np.sort(values[truth]), candidates, side="left")
    f1 = 2 * right / (given + truth.sum())
    best = candidates[f1 == f1.max()]
    return float(best[np.abs(best - HALF).argmin()])
