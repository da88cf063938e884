"""Thresholds of several labels, held against trying every one."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from cuetune.metrics.thresholds import best_threshold, best_thresholds


@pytest.mark.parametrize("seed", range(20))
def test_no_threshold_has_a_better_f1(seed):
    draw = np.random.default_rng(seed)
    values = draw.random(30).round(2 if seed % 2 else 1)  # with and without equal ones
    truth = draw.random(30) < 0.3
    truth[0] = True
    every = np.unique(np.concatenate([values, values + 1e-9, [0.0, 0.5, 1.1]]))
    best = max(f1_score(truth, values >= each, zero_division=0) for each in every)
    found = best_threshold(values, truth)
    assert f1_score(truth, values >= found, zero_division=0) == pytest.approx(best)


def test_of_equally_good_ones_that_nearest_to_one_half():
    assert best_threshold(np.array([0.1, 0.4, 0.95]), np.array([False, False, True])) == 0.5
    assert best_threshold(np.array([0.1, 0.2, 0.3]), np.array([False, False, True])) == pytest.approx(0.25)
    assert best_threshold(np.array([0.1, 0.9]), np.array([False, False])) == 0.5
    assert best_thresholds(np.array([[0.1, 0.9], [0.3, 0.8]]), np.array([[0, 1], [1, 0]], bool)) == pytest.approx(
        [0.2, 0.85]
    )
