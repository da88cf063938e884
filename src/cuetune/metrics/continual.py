"""How well a stream of tasks was learned, and how much of it was forgotten.

R is the matrix (N, N) of accuracies: R[i, j] on the test rows of task j after task i was learned, answers over all
labels so far. What lies above the diagonal was not learned yet, and is not a number.
"""

import math
from collections.abc import Sequence
from statistics import fmean
from typing import Any

import numpy as np

from cuetune.metrics.intervals import interval

# The two forgettings are different numbers, the first a fraction of the second: never compare one with the other.
NAMES = {
    "final_accuracy": "A_N",
    "incremental_accuracy": "mean A_t",
    "largest_drop": "forgetting (best − final)",
    "one_step_drop": "forgetting (one step)",
}


def matrix(rows: Sequence[Sequence[float | None]]) -> np.ndarray:
    """(N, N) from rows of growing length, one for each task learned; None where nothing could be measured."""
    found = np.full((len(rows), len(rows)), math.nan)
    for number, row in enumerate(rows):
        found[number, : len(row)] = [math.nan if each is None else each for each in row]
    return found


def final_accuracy(R: np.ndarray) -> float:
    """A_N = (1/N) Σ_j R[N, j]: the mean over tasks after the last one."""
    return _mean(R[-1])


def incremental_accuracy(R: np.ndarray) -> float:
    """(1/N) Σ_t A_t with A_t the mean over the tasks so far after task t (also called CAA, or average accuracy)."""
    return _mean([_mean(row[: number + 1]) for number, row in enumerate(R)])


def largest_drop(R: np.ndarray) -> float:
    """(1/(N-1)) Σ_{j<N} (max_{t<N} R[t, j] - R[N, j]): from the best so far to the end (Chaudhry et al. 2018)."""
    last = len(R) - 1
    return _mean([_best(R[j:last, j]) - R[last, j] for j in range(last)]) if last else 0.0


def one_step_drop(R: np.ndarray) -> float:
    """(1/(N-1)) Σ_{t>1} (1/(t-1)) Σ_{i<t} (R[t-1, i] - R[t, i]): the mean loss by one more task.

    What the code of CODA-Prompt (Smith et al. 2023) calls forgetting; of one lasting loss it counts a fraction.
    """
    steps = [_mean(R[t - 1, :t] - R[t, :t]) for t in range(1, len(R))]
    return _mean(steps) if steps else 0.0


def summary(R: np.ndarray) -> dict[str, float]:
    """All of these, by name."""
    return {
        "final_accuracy": final_accuracy(R),
        "incremental_accuracy": incremental_accuracy(R),
        "largest_drop": largest_drop(R),
        "one_step_drop": one_step_drop(R),
    }


def over_runs(matrices: Sequence[np.ndarray]) -> dict[str, dict[str, Any]]:
    """The mean of each over class orders and seeds, with its 95 % interval and each run's value."""
    values = [summary(R) for R in matrices]
    found = {name: [each[name] for each in values] for name in NAMES}
    return {name: {**interval(each, _limits(name)), "runs": each} for name, each in found.items()}


def _limits(name: str) -> tuple[float, float]:
    """Where a value can lie; a drop is below zero where later tasks help earlier ones."""
    return (-1.0, 1.0) if name.endswith("drop") else (0.0, 1.0)


def mean_matrix(matrices: Sequence[np.ndarray]) -> np.ndarray:
    """(N, N) means over runs of equally many tasks."""
    return np.mean(np.stack(list(matrices)), axis=0)


def _mean(values: Any) -> float:
    """The mean of what was measured."""
    there = [float(each) for each in values if not math.isnan(each)]
    return fmean(there) if there else math.nan


def _best(values: np.ndarray) -> float:
    there = [float(each) for each in values if not math.isnan(each)]
    return max(there) if there else math.nan
