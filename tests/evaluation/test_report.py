"""What a comparison's figures are made of: intervals, means, prices, tables."""

import math
import statistics

import pytest
from scipy import stats

from cuetune.comparison.report import (
    COLUMNS,
    Price,
    amount,
    columns,
    interval,
    markdown,
    searched,
    short,
    summarise,
    terminal_table,
)


def run(method, size, seed, accuracy, **more):
    figures = {"seconds": 10.0, "flops": 2e12, "kwh": 0.001, "latency": 0.02, "peak_memory_bytes": 2**20}
    figures |= {"stored_bytes": 2048, "trained": 512, "best_step": 40, "steps": 100, "stopped": "", "rate": 0.01}
    figures |= {"energy_kind": "estimated", "note": "", "validation": {"accuracy": accuracy}, "factor": None}
    scores = {"accuracy": accuracy, "macro_f1": accuracy}
    return {"method": method, "size": size, "seed": seed, "scores": scores, **figures, **more}


# Student's t at 97.5 %: for one and two degrees of freedom in closed form, for eleven from printed tables.
QUANTILES = {1: math.tan(0.475 * math.pi), 2: 0.95 * math.sqrt(2 / (4 * 0.975 * 0.025)), 11: 2.20098516}


@pytest.mark.parametrize("values", [[0.5, 0.51], [0.7, 0.72, 0.69], [0.5 + 0.01 * n for n in range(12)]])
def test_interval_is_students(values):
    mean, half = sum(values) / len(values), QUANTILES[len(values) - 1] * statistics.stdev(values) / len(values) ** 0.5
    made = interval(values)
    assert made["value"] == pytest.approx(mean)
    assert made["low"] == pytest.approx(mean - half, abs=1e-8)
    assert made["high"] == pytest.approx(mean + half, abs=1e-8)


def test_one_run_has_no_interval():
    assert interval([0.7]) == {"value": 0.7, "low": None, "high": None}


def test_what_was_not_measured_has_no_interval():
    found = interval([math.nan, math.nan])
    assert math.isnan(found["value"])
    assert (found["low"], found["high"]) == (None, None)


def test_means_over_seeds_at_every_size():
    results = [run("soft", size, seed, 0.6 + 0.1 * seed) for size in (64, 1000) for seed in (0, 1)]
    results += [run("zero-shot", 0, 0, 0.5, rate=None, steps=0, best_step=0)]
    trials = [run("soft", 64, 0, 0.7, factor=factor, rate=0.01 * factor, seconds=4.0) for factor in (3.0, 1.0)]
    rows = summarise(results, (64, 1000), trials, Price(3.6, 0.2, ""))
    assert [(row["method"], row["size"], row["seeds"]) for row in rows] == [
        ("soft", 64, 2),
        ("zero-shot", 64, 1),
        ("soft", 1000, 2),
        ("zero-shot", 1000, 1),
    ]
    soft = rows[0]
    assert soft["accuracy"]["value"] == pytest.approx(0.65)
    assert soft["dollars"] == pytest.approx(3.6 * 10 / 3600)
    assert [each["rate"] for each in soft["search"]] == [0.01, 0.03]
    assert soft["search_seconds"] == 8.0
    assert rows[2]["search"] == []
    assert "0.01 → 0.700, 0.03 → 0.700; taken 0.01 (8 s)" in searched(soft)


def test_methods_are_compared_with_the_probe_draw_by_draw():
    soft, probes = (0.50, 0.63, 0.71), (0.48, 0.60, 0.70)
    results = [run("soft", 64, seed, value) for seed, value in enumerate(soft)]
    results += [run("linear-probe", 64, seed, value) for seed, value in reversed(list(enumerate(probes)))]
    results += [run("soft", 8, 0, 0.4), run("zero-shot", 0, 0, 0.3)]
    rows = {(row["method"], row["size"]): row for row in summarise(results, (64, 8))}
    paired = stats.ttest_rel(soft, probes).confidence_interval(0.95)
    found = rows["soft", 64]["over_probe"]
    assert (found["low"], found["high"]) == pytest.approx((paired.low, paired.high), abs=1e-3)
    assert [rows[each]["over_probe"] for each in (("linear-probe", 64), ("zero-shot", 64), ("soft", 8))] == [None] * 3
    text = markdown(list(rows.values()), "reviews", [])
    assert "| +0.020 (-0.005 to +0.045) |" in text
    assert "over the probe" not in markdown([rows["soft", 8]], "reviews", [])


def test_a_method_that_is_still_rising_is_marked():
    cell = COLUMNS["best step"]
    for best, stopped, marked in ((100, "", True), (60, "", False), (100, "early", False)):
        (row,) = summarise([run("soft", 64, 0, 0.5, best_step=best, stopped=stopped)], (64,))
        assert ("↑" in cell(row)) == marked


def test_a_processor_costs_its_electricity():
    assert Price(None, 0.2, "").of(3600, 0.5) == pytest.approx(0.1)
    assert Price(2.0, 0.2, "").of(1800, 0.5) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("value", "said"), [(0, "0"), (1234567, "1,230,000"), (0.00001234, "0.0000123"), (12.345, "12.3")]
)
def test_short_numbers(value, said):
    assert short(value) == said


@pytest.mark.parametrize(("size", "said"), [(40, "40 B"), (2048, "2 KiB"), (3 * 2**30, "3 GiB")])
def test_amounts(size, said):
    assert amount(size) == said


def test_tables_hold_every_method_best_first():
    rows = summarise([run("soft", 64, 0, 0.6), run("lora", 64, 0, 0.9)], (64,))
    text = markdown(rows, "reviews", ["a note"])
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| lora", "| soft"]
    assert {line.count("|") for line in lines} == {len(columns(rows)) + 1}
    assert text.endswith("a note\n")
    assert terminal_table(rows, 64).row_count == 2
