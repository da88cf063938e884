"""Scores of several labels and of numbers, held against scikit-learn and SciPy."""

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics

from cuetune.metrics.classification import Score
from cuetune.metrics.multi_label import by_label, micro_f1, multi_label_scores
from cuetune.metrics.regression import correlation, regression_scores
from cuetune.metrics.resampling import resamples


@pytest.mark.parametrize("seed", range(6))
def test_several_labels_are_scored_as_scikit_learn_does(seed):
    draw = np.random.default_rng(seed)
    truth, found = draw.random((40, 5)) < 0.3, draw.random((40, 5)) < 0.4
    truth[:, 4], found[:, 4] = False, seed % 2  # a label that no row has
    scores = multi_label_scores(truth, found)
    expected = {
        "micro_f1": metrics.f1_score(truth, found, average="micro", zero_division=0),
        "macro_f1": metrics.f1_score(truth, found, average="macro", zero_division=0),
        "subset_accuracy": metrics.accuracy_score(truth, found),
    }
    assert {name: score.value for name, score in scores.items()} == pytest.approx(expected)
    assert all(score.low <= score.value <= score.high for score in scores.values())
    assert micro_f1(truth, found) == pytest.approx(expected["micro_f1"])
    columns = metrics.precision_recall_fscore_support(truth, found, average=None, zero_division=0)
    for made, precision, recall, f1, support in zip(by_label(truth, found), *columns, strict=True):
        assert made == pytest.approx({"precision": precision, "recall": recall, "f1": f1, "support": support})


def test_several_labels_without_any_are_scored_too():
    nothing = np.zeros((5, 3), dtype=bool)
    assert {name: score.value for name, score in multi_label_scores(nothing, nothing).items()} == {
        "micro_f1": 0.0,
        "macro_f1": 0.0,
        "subset_accuracy": 1.0,
    }


@pytest.mark.parametrize("seed", range(6))
def test_numbers_are_scored_as_scikit_learn_and_scipy_do(seed):
    draw = np.random.default_rng(seed)
    truth = draw.normal(3, 2, 50).round(seed % 2)  # with and without ties
    found = truth + draw.normal(0, 1, 50).round(seed % 3)
    scores = regression_scores(truth, found)
    expected = {
        "pearson": stats.pearsonr(truth, found)[0],
        "spearman": stats.spearmanr(truth, found)[0],
        "r2": metrics.r2_score(truth, found),
        "mae": metrics.mean_absolute_error(truth, found),
        "rmse": metrics.root_mean_squared_error(truth, found),
    }
    assert {name: score.value for name, score in scores.items()} == pytest.approx(expected)
    assert all(score.low <= score.value <= score.high for score in scores.values())


def test_a_draw_of_rows_is_scored_as_those_rows_alone():
    draw = np.random.default_rng(0)
    truth, found = draw.normal(size=30).round(1), draw.normal(size=30).round(1)
    counts = next(resamples(30))[:1]
    rows = np.repeat(np.arange(30), counts[0].astype(int))
    assert len(rows) == 30
    from cuetune.metrics.regression import _Order

    ranks = [_Order(values).ranks(counts) for values in (truth, found)]
    assert correlation(counts, *ranks)[0] == pytest.approx(stats.spearmanr(truth[rows], found[rows])[0])


def test_numbers_that_do_not_vary_have_no_correlation():
    scores = regression_scores(np.ones(4), np.array([1.0, 2.0, 3.0, 4.0]))
    assert (scores["pearson"].value, scores["spearman"].value, scores["r2"].value) == (0.0, 0.0, 0.0)


def test_errors_of_very_small_numbers_are_not_shown_as_zero():
    assert str(Score(1.5e-8, 0.0, 0.25)) == "1.5e-08 (0.000–0.250)"
