"""Plots: names that do not touch, curves that mean what they show, files that appear whole."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cuetune.comparison.contenders import CONTENDERS
from cuetune.comparison.plots import LOOKS, apart, draw_comparison, mean_curve
from cuetune.comparison.report import summarise

GAP = 0.05


@settings(deadline=None)  # a busy machine is no failure
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12).map(sorted))
def test_names_stand_apart_in_order_and_move_no_more_than_they_must(heights):
    placed = apart(heights, GAP)
    assert all(b - a >= GAP - 1e-9 for a, b in zip(placed, placed[1:], strict=False))
    assert sum(placed) == pytest.approx(sum(heights), abs=1e-6)
    if all(b - a >= GAP for a, b in zip(heights, heights[1:], strict=False)):
        assert placed == pytest.approx(heights)


def run(method, size, seed, points, stopped=""):
    figures = dict.fromkeys(("seconds", "flops", "kwh", "latency", "peak_memory_bytes", "stored_bytes", "trained"), 1.0)
    steps = points[-1][0] if points else 0
    curve = [{"step": step, "accuracy": accuracy} for step, accuracy in points]
    best = max((accuracy for _, accuracy in points), default=0.5)
    figures |= {"steps": steps, "best_step": steps, "stopped": stopped, "rate": 0.1, "energy_kind": "", "note": ""}
    figures |= {"validation": {"accuracy": best}, "factor": None, "curve": curve}
    return {"method": method, "size": size, "seed": seed, "scores": {"accuracy": best, "macro_f1": best}, **figures}


def test_a_run_that_stopped_early_counts_on_with_its_best_score():
    short = run("soft", 64, 0, [(10, 0.6), (20, 0.8), (30, 0.7)], "early")
    long = run("soft", 64, 1, [(10, 0.5), (20, 0.6), (30, 0.7), (40, 1.0)])
    assert mean_curve([short, long]) == ([10, 20, 30, 40], pytest.approx([0.55, 0.7, 0.7, 0.9]))


def test_every_method_has_a_look():
    for contenders in CONTENDERS.values():
        assert {contender.family for contender in contenders.values()} <= set(LOOKS)


def test_plots_are_written_whole(tmp_path):
    pytest.importorskip("matplotlib")
    results = [run("zero-shot", 0, 0, []) | {"flops": 0.0}]
    results += [
        run(m, size, s, [(5, 0.5), (10, 0.7 + s / 10)]) for m in ("soft", "lora") for size in (8, 64) for s in (0, 1)
    ]
    names = [path.name for path in draw_comparison(tmp_path, summarise(results, (8, 64)), results)]
    assert names == ["score-against-cost.png", "learning-curves.png", "score-over-sizes.png"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)
    assert all((tmp_path / name).read_bytes().startswith(b"\x89PNG") for name in names)
    only_words = draw_comparison(tmp_path / "words", summarise(results[:1], (8,)), results[:1])
    assert [path.name for path in only_words] == ["score-against-cost.png"]
