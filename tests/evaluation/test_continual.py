"""Metrics of a stream against sums written out by hand, and what the two forgettings say of the same loss."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cuetune.metrics.continual import (
    final_accuracy,
    incremental_accuracy,
    largest_drop,
    matrix,
    mean_matrix,
    one_step_drop,
    over_runs,
    summary,
)

R = matrix([[0.9], [0.7, 0.8], [0.5, 0.9, 1.0]])


def test_what_was_not_learned_yet_is_not_a_number():
    assert np.isnan(R[0, 1])
    assert np.isnan(R[1, 2])
    assert R[2].tolist() == [0.5, 0.9, 1.0]


def test_metrics_by_hand():
    assert final_accuracy(R) == pytest.approx((0.5 + 0.9 + 1.0) / 3)
    assert incremental_accuracy(R) == pytest.approx((0.9 + 0.75 + 0.8) / 3)
    # From the best so far: 0.9 -> 0.5 and 0.8 -> 0.9, which is a gain.
    assert largest_drop(R) == pytest.approx((0.4 - 0.1) / 2)
    # One step: 0.2 after task 2; (0.2 - 0.1) / 2 after task 3.
    assert one_step_drop(R) == pytest.approx((0.2 + 0.05) / 2)


def test_published_ratio_of_the_two_forgettings():
    """A tuner that loses 90 points once per task scores 47, 28 and 17 by the one-step definition (N = 5, 10, 20)."""
    for tasks, expected in ((5, 47), (10, 28), (20, 17)):
        lost = matrix([[0.9 if j == i else 0.0 for j in range(i + 1)] for i in range(tasks)])
        assert 100 * one_step_drop(lost) == pytest.approx(expected, abs=0.7)
        assert largest_drop(lost) == pytest.approx(0.9)


def test_one_task_forgets_nothing():
    assert summary(matrix([[0.6]])) == {
        "final_accuracy": 0.6,
        "incremental_accuracy": 0.6,
        "largest_drop": 0.0,
        "one_step_drop": 0.0,
    }


def test_a_task_that_could_not_be_measured_is_left_out_of_means():
    gone = matrix([[None], [None, 0.8], [None, 0.6, 1.0]])
    assert final_accuracy(gone) == pytest.approx(0.8)
    assert largest_drop(gone) == pytest.approx(0.2)
    assert one_step_drop(gone) == pytest.approx(0.2)


@given(st.lists(st.floats(0, 1), min_size=6, max_size=6))
def test_nothing_is_forgotten_where_nothing_drops(values):
    best = sorted(values)
    rising = matrix([[best[0]], [best[1], best[2]], [best[3], best[4], best[5]]])
    assert largest_drop(rising) <= 1e-12
    assert one_step_drop(rising) <= 1e-12


def test_runs_are_averaged_with_an_interval():
    other = matrix([[0.8], [0.6, 0.7], [0.4, 0.8, 0.9]])
    found = over_runs([R, other])
    assert found["final_accuracy"]["value"] == pytest.approx(0.75)
    assert found["final_accuracy"]["runs"] == pytest.approx([0.8, 0.7])
    assert found["final_accuracy"]["low"] < 0.7 < 0.8 < found["final_accuracy"]["high"]
    assert over_runs([R])["final_accuracy"]["low"] is None
    assert math.isclose(mean_matrix([R, other])[1, 0], 0.65)


def test_an_interval_of_drops_may_reach_below_zero():
    helped = matrix([[0.5], [0.6, 0.5]])
    hurt = matrix([[0.5], [0.45, 0.5]])
    found = over_runs([helped, hurt])["largest_drop"]
    assert found["value"] == pytest.approx(-0.025)
    assert found["low"] < -0.1
