"""The data advantage: the paper's own numbers from the paper's own curves, and what must hold for any curves."""

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cuetune.comparison.data_advantage import advantage, common_window, plot_curves, whole_region
from cuetune.errors import CuetuneError

DATA = Path(__file__).parents[1] / "data" / "data_advantage"
PUBLISHED = {"mnli": 3506, "boolq": 752, "cb": 90, "copa": 288, "rte": 282, "wic": -424, "wsc": 281}
SPREADS = {"mnli": 522, "boolq": 46, "cb": 2, "rte": 34, "wic": 74}
OVER_NULL = {"boolq": 299, "cb": 78, "mnli": 150, "rte": 404, "wic": -354}


def curves(task: str) -> tuple[list[float], dict[str, np.ndarray]]:
    with (DATA / f"{task}.csv").open() as stream:
        table = list(csv.DictReader(stream))
    kinds = {name.split("_")[0] for name in table[0]} - {"rows"}
    columns = {kind: sorted(name for name in table[0] if name.startswith(kind)) for kind in kinds}
    scores = {
        kind: np.array([[float(row[name] or "nan") for name in names] for row in table])
        for kind, names in columns.items()
    }
    return [float(row["rows"]) for row in table], scores


@pytest.mark.parametrize("task", PUBLISHED)
def test_published_advantage_is_reproduced(task):
    sizes, scores = curves(task)
    assert advantage(sizes, scores["head"], scores["prompt"]).points == pytest.approx(PUBLISHED[task], rel=0.005)


def test_published_advantage_over_the_whole_region():
    """MultiRC's common scores are too few; the paper averages over all scores instead."""
    sizes, scores = curves("multirc")
    result = advantage(sizes, scores["head"], scores["prompt"])
    assert result.at_least == pytest.approx(384, rel=0.005)
    assert "says little" in result.sentence
    region = whole_region(sizes, scores["head"], scores["prompt"])
    assert advantage(sizes, scores["head"], scores["prompt"], window=region).points == result.at_least
    assert advantage(sizes, scores["null"], scores["prompt"], window=region).points == pytest.approx(74, rel=0.02)


@pytest.mark.parametrize("task", SPREADS)
def test_held_out_runs_give_the_published_error_bars(task):
    sizes, scores = curves(task)
    spread = advantage(sizes, scores["head"], scores["prompt"]).spread
    assert spread is not None
    assert round(spread) == SPREADS[task]


@pytest.mark.parametrize("task", OVER_NULL)
def test_three_methods_add_up_in_one_window(task):
    sizes, scores = curves(task)
    window = common_window(sizes, scores["head"], scores["prompt"])
    pairs = {("head", "prompt"), ("null", "prompt"), ("head", "null")}
    gap = {(a, b): advantage(sizes, scores[a], scores[b], window=window).points for a, b in pairs}
    # The paper prints 150 for MNLI where its own curves give 142.
    assert gap["null", "prompt"] == pytest.approx(OVER_NULL[task], rel=0.06)
    assert gap["head", "prompt"] == pytest.approx(gap["null", "prompt"] + gap["head", "null"])


def brute_force(sizes, a, b, levels=20_000):
    """The area between two strictly rising curves, by swapping the axes of numpy's interpolation."""
    low, high = max(a[0], b[0]), min(a[-1], b[-1])
    y = low + (np.arange(levels) + 0.5) / levels * (high - low)
    return float(np.mean(np.interp(y, a, sizes) - np.interp(y, b, sizes)))


rising = st.lists(st.floats(0.01, 1.0), min_size=6, max_size=6).map(lambda steps: np.cumsum(steps))


@settings(deadline=None)  # a busy machine is no failure
@given(rising, rising)
def test_equals_the_area_between_the_curves(a, b):
    sizes = [10.0, 20.0, 50.0, 100.0, 200.0, 500.0]
    result = advantage(sizes, a, b)
    if result.points is None:
        assert max(a[0], b[0]) >= min(a[-1], b[-1])
    else:
        assert result.points == pytest.approx(brute_force(np.array(sizes), a, b), abs=0.5)


@settings(deadline=None)  # a busy machine is no failure
@given(rising, rising)
def test_swapping_the_methods_swaps_the_sign(a, b):
    sizes = [10.0, 20.0, 50.0, 100.0, 200.0, 500.0]
    one, other = advantage(sizes, a, b), advantage(sizes, b, a)
    assert one.window == other.window
    assert one.at_least == pytest.approx(-other.at_least)
    if one.points is not None and other.points is not None:
        assert one.points == pytest.approx(-other.points)


def test_a_shifted_curve_is_worth_its_shift():
    """B reaches each score 40 rows before A, on a straight line."""
    sizes = [0.0, 40.0, 80.0, 120.0]
    result = advantage(sizes, [0.0, 0.4, 0.8, 1.2], [0.4, 0.8, 1.2, 1.6], name_a="fine-tuning")
    assert result.points == pytest.approx(40.0)
    assert result.window == pytest.approx((0.4, 1.2))
    assert result.low == result.high == result.points  # one run: no error bar
    assert result.sentence == "this prompt is worth about 40 labelled rows against fine-tuning at scores of 0.4 to 1.2."


def test_only_the_best_run_so_far_counts():
    sizes = [10.0, 20.0, 40.0, 80.0]
    plain = advantage(sizes, [0.1, 0.2, 0.3, 0.4], [0.2, 0.3, 0.4, 0.5])
    dips = [[0.2, 0.0], [0.3, 0.1], [float("nan"), 0.4], [0.5, 0.2]]
    noisy = advantage(sizes, [[0.1, 0.1], [0.2, 0.2], [0.3, 0.3], [0.4, 0.4]], dips)
    assert noisy.points == pytest.approx(plain.points)


def test_curves_without_a_common_score_give_only_a_bound():
    sizes = [10.0, 100.0]
    better = advantage(sizes, [0.3, 0.5], [0.6, 0.8], name_a="fine-tuning")
    assert (better.points, better.window, better.low) == (None, None, None)
    assert 0 < better.at_least <= 90
    assert f"this prompt is worth at least {better.at_least:.2g}" in better.sentence
    worse = advantage(sizes, [0.6, 0.8], [0.3, 0.5], name_a="fine-tuning")
    assert "fine-tuning is worth at least" in worse.sentence
    assert "cannot be stated" in advantage(sizes, [0.5, 0.5], [0.5, 0.5]).sentence


def test_a_gap_inside_its_error_bar_is_called_none():
    scores = [[0.1, 0.3], [0.3, 0.1], [0.5, 0.6]]
    assert "about the same number" in advantage([10, 20, 40], scores, scores).sentence


@pytest.mark.parametrize(
    ("sizes", "a", "named"),
    [
        ([10, 10], [0.1, 0.2], "larger than"),
        ([10], [0.1], "at least two"),
        ([10, 20], [0.1, 0.2, 0.3], "shape"),
        ([10, 20], [float("nan"), 0.2], "no learning curve"),
    ],
)
def test_curves_that_make_no_sense_are_named(sizes, a, named):
    with pytest.raises(CuetuneError, match=named):
        advantage(sizes, a, [0.1] * len(sizes))


def test_plot_is_written_whole(tmp_path):
    pytest.importorskip("matplotlib")
    sizes, scores = curves("boolq")
    path = plot_curves(tmp_path / "boolq.png", sizes, scores["head"], scores["prompt"], name_a="linear head")
    assert path.read_bytes().startswith(b"\x89PNG")
    with pytest.raises(CuetuneError, match="cannot draw"):
        plot_curves(tmp_path / "boolq.xyz", sizes, scores["head"], scores["prompt"])
    assert sorted(file.name for file in tmp_path.iterdir()) == ["boolq.png"]
