"""Bootstrap over rows: how often each row is drawn when as many rows are drawn with replacement."""

from collections.abc import Callable, Iterator

import numpy as np

from cuetune.metrics.classification import RESAMPLES, Score

NUMBERS_AT_ONCE = 4_000_000  # of drawn rows that are held in memory


def resamples(n_rows: int, seed: int = 0) -> Iterator[np.ndarray]:
    """(r, N) counts, r draws at a time, `RESAMPLES` in all; each draw's counts sum to N."""
    generator = np.random.default_rng(seed)
    at_once = max(1, min(RESAMPLES, NUMBERS_AT_ONCE // n_rows))
    for first in range(0, RESAMPLES, at_once):
        draws = min(at_once, RESAMPLES - first)
        drawn = generator.integers(0, n_rows, (draws, n_rows)) + n_rows * np.arange(draws)[:, None]
        yield np.bincount(drawn.ravel(), minlength=draws * n_rows).reshape(draws, n_rows).astype(float)


def intervals(measure: Callable[[np.ndarray], dict[str, np.ndarray]], n_rows: int, seed: int = 0) -> dict[str, Score]:
    """Scores with 95 % percentile intervals. measure: (r, N) counts of rows -> (r,) values of each score."""
    values = {name: float(each[0]) for name, each in measure(np.ones((1, n_rows))).items()}
    drawn = [measure(counts) for counts in resamples(n_rows, seed)]
    scores = {}
    for name, value in values.items():
        low, high = np.quantile(np.concatenate([each[name] for each in drawn]), [0.025, 0.975])
        scores[name] = Score(value, float(low), float(high))
    return scores
