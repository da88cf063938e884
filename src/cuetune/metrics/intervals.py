"""Confidence intervals of means over a handful of seeds, by Student's t."""

import math
import statistics
from collections.abc import Sequence


def interval(values: Sequence[float], within: tuple[float, float] = (0.0, 1.0)) -> dict[str, float | None]:
    """Mean with its 95 % confidence interval over seeds (Student's t), cut to where values lie.

    One value has none, and neither has what was not measured (NaN), as forgetting where all tasks are learned at once.
    """
    mean = statistics.mean(values)
    if len(values) < 2 or math.isnan(mean):
        return {"value": mean, "low": None, "high": None}
    from scipy.special import stdtrit  # slow to import

    # The 97.5 % quantile of Student's t: over a handful of seeds the normal distribution's 1.96 would be too narrow.
    student = float(stdtrit(len(values) - 1, 0.975))
    half = student * statistics.stdev(values) / math.sqrt(len(values))
    return {"value": mean, "low": max(within[0], mean - half), "high": min(within[1], mean + half)}
