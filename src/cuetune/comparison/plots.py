"""Plots of a comparison: score against cost, learning curves, scores over training sizes. Needs the extra `plots`.

Every line and point carries its name beside the panel. Colours are those of Okabe and Ito, which colour-blind readers
can tell apart; each family of methods has a marker of its own as well.
"""

import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from cuetune.comparison.contenders import contender
from cuetune.comparison.report import metrics_of, short, title
from cuetune.support.figures import new_figure, save_figure

LOOKS = {
    "words": ("#000000", "s"),
    "features": ("#CC79A7", "D"),
    "prompts at the embedding layer": ("#0072B2", "o"),
    "prompts in deeper layers": ("#009E73", "^"),
    "prompts in pixels": ("#E69F00", "v"),
    "weights": ("#D55E00", "X"),
}
STYLES = ("-", "--", ":", "-.", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 3)))
GAP = 0.05  # between two names beside a panel, in heights of it


def draw_comparison(folder: Path, rows: Sequence[dict[str, Any]], results: Sequence[dict[str, Any]]) -> list[Path]:
    """Draw what `report.summarise` and the runs hold into `folder`; returns the files.

    Raises CuetuneError when matplotlib is missing.
    """
    drawn = [draw_cost(folder / "score-against-cost.png", rows)]
    if any(result["curve"] for result in results):
        drawn.append(draw_curves(folder / "learning-curves.png", results))
    if len({row["size"] for row in rows}) > 1:
        drawn.append(draw_sizes(folder / "score-over-sizes.png", rows))
    return drawn


def draw_cost(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    """The score against the operations of training and against the bytes kept per task, one row of panels per size."""
    sizes = list(dict.fromkeys(row["size"] for row in rows))
    figure = new_figure(15, 5.2 * len(sizes))
    panels = figure.subplots(len(sizes), 2, squeeze=False)
    for size, (left, right) in zip(sizes, panels, strict=True):
        here = [row for row in rows if row["size"] == size]
        _scatter(left, here, lambda row: row["flops"] / 1e12, "operations of one training run, TFLOP")
        _scatter(right, here, lambda row: row["stored_bytes"] / 1024, "kept per task beside the frozen model, KiB")
        for axes in (left, right):
            axes.set_title(f"{size:,} training rows", loc="left", fontsize=10)
    _families(figure, rows)
    return save_figure(figure, path)


def _scatter(axes: Any, rows: Sequence[dict[str, Any]], cost: Callable[[dict[str, Any]], float], said: str) -> None:
    from matplotlib.ticker import LogLocator

    costs = [cost(row) for row in rows]
    some = [each for each in costs if each > 0] or [1.0]
    nothing = min(some) / 4  # where a method that costs nothing is drawn
    axes.set_xscale("log")
    places = []
    for row, each in zip(rows, costs, strict=True):
        color, marker = LOOKS[contender(row["method"]).family]
        score, x = row[metrics_of(row)[0]], each or nothing
        if score["low"] is not None:
            axes.plot([x, x], [score["low"], score["high"]], color=color, alpha=0.4, linewidth=1.5)
        axes.plot([x], [score["value"]], marker, color=color, markersize=7)
        places.append((row["method"], x, score["value"], color))
    if any(each == 0 for each in costs):
        axes.axvline(nothing * 1.8, color="0.8", linewidth=0.8)
        axes.annotate(
            "0",
            (nothing, 0),
            (0, -4),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            ha="center",
            va="top",
        )
    axes.xaxis.set_major_formatter(lambda value, _: short(value) if value > nothing * 1.8 or min(costs) > 0 else "")
    axes.xaxis.set_minor_formatter("")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if max(some) < 300 * nothing else (1,)))
    _frame(axes, said, f"{title(metrics_of(rows[0])[0])} on held-out rows")
    _zoom(axes, [score for _, _, score, _ in places])
    _names(axes, places)


def draw_curves(path: Path, results: Sequence[dict[str, Any]]) -> Path:
    """Validation score by step, mean over seeds; a run that stopped early counts on with its best score."""
    tuned = [result for result in results if result["curve"]]
    sizes = sorted({result["size"] for result in tuned})
    figure = new_figure(8 * len(sizes), 5.6)
    for axes, size in zip(figure.subplots(1, len(sizes), squeeze=False)[0], sizes, strict=True):
        here = [result for result in tuned if result["size"] == size]
        places = []
        for method, style in _styled([result["method"] for result in here]):
            steps, means = mean_curve([result for result in here if result["method"] == method])
            color, _ = LOOKS[contender(method).family]
            axes.plot(steps, means, color=color, linestyle=style, linewidth=1.6)
            places.append((method, steps[-1], means[-1], color))
        axes.set_title(f"{size:,} training rows", loc="left", fontsize=10)
        said = f"{title(_followed(here[0]))} on validation rows"
        _frame(axes, "step (runs that stopped early count on with their best)", said)
        _names(axes, places)
    _families(figure, tuned)
    return save_figure(figure, path)


def mean_curve(runs: Sequence[dict[str, Any]]) -> tuple[list[int], list[float]]:
    """Mean validation score at every step that any of these runs was validated at."""
    steps = sorted({point["step"] for run in runs for point in run["curve"]})
    return steps, [statistics.mean(_at(run, step) for run in runs) for step in steps]


def _at(run: dict[str, Any], step: int) -> float:
    metric = _followed(run)
    if step > run["steps"]:
        return float(run["validation"][metric])
    return float([point for point in run["curve"] if point["step"] <= step][-1][metric])


def _followed(run: dict[str, Any]) -> str:
    """The validation score of a run that is not its loss."""
    return next(name for name in run["validation"] if name != "loss")


def draw_sizes(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    """The score over training sizes with intervals over seeds, a line for each method."""
    figure = new_figure(9, 6)
    axes = figure.subplots()
    places = []
    methods, metric = _styled([row["method"] for row in rows]), metrics_of(rows[0])[0]
    for number, (method, style) in enumerate(methods):
        beside = 1.04 ** ((number + 0.5) / len(methods) * 2 - 1)  # or intervals would hide each other
        here = sorted((row for row in rows if row["method"] == method), key=lambda row: row["size"])
        color, marker = LOOKS[contender(method).family]
        sizes, scores = [row["size"] * beside for row in here], [row[metric] for row in here]
        axes.plot(sizes, [score["value"] for score in scores], marker, color=color, linestyle=style, markersize=5)
        for size, score in zip(sizes, scores, strict=True):
            if score["low"] is not None:
                axes.plot([size, size], [score["low"], score["high"]], color=color, alpha=0.25)
        places.append((method, sizes[-1], scores[-1]["value"], color))
    axes.set_xscale("log")
    ticks = sorted({row["size"] for row in rows})
    axes.set_xticks(ticks, [f"{size:,}" for size in ticks], minor=False)
    axes.minorticks_off()
    _frame(axes, "training rows", f"{title(metric)} on held-out rows")
    _zoom(axes, [row[metric]["value"] for row in rows])
    _names(axes, places)
    _families(figure, rows)
    return save_figure(figure, path)


def _styled(methods: Sequence[str]) -> list[tuple[str, Any]]:
    """Each method once, with a line style that no other of its family has."""
    used: dict[str, int] = {}
    made = []
    for method in dict.fromkeys(methods):
        family = contender(method).family
        made.append((method, STYLES[used.get(family, 0) % len(STYLES)]))
        used[family] = used.get(family, 0) + 1
    return made


def _frame(axes: Any, x: str, y: str) -> None:
    axes.set(xlabel=x, ylabel=y)
    axes.grid(color="0.92")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _zoom(axes: Any, scores: Sequence[float]) -> None:
    """Show all scores; intervals that are much wider than the scores differ reach out of the panel."""
    room = 0.1 + 0.2 * (max(scores) - min(scores))
    axes.set_ylim(max(min(0.0, min(scores)), min(scores) - room), min(1.0, max(scores) + room))


def _names(axes: Any, places: Sequence[tuple[str, float, float, str]]) -> None:
    """Names at the panel's right edge, apart from each other, each with a thin line to its point."""
    low, high = axes.get_ylim()
    ordered = sorted(places, key=lambda place: place[2])
    heights = apart([(y - low) / (high - low) for _, _, y, _ in ordered], GAP)
    for (name, x, y, color), height in zip(ordered, heights, strict=True):
        axes.annotate(
            name,
            (x, y),
            (1.03, height),
            textcoords="axes fraction",
            color=color,
            fontsize=9,
            va="center",
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": color,
                "alpha": 0.35,
                "linewidth": 0.7,
                "relpos": (0, 0.5),
                "shrinkA": 2,
            },
        )


def apart(heights: Sequence[float], gap: float) -> list[float]:
    """Rising heights moved as little as keeps neighbours `gap` apart: groups that would touch share their middle."""
    groups: list[tuple[list[float], float]] = []  # members' wishes, lowest place
    for height in heights:
        wishes, start = [height], height
        while groups and groups[-1][1] + gap * len(groups[-1][0]) > start:
            wishes = groups.pop()[0] + wishes
            start = statistics.mean(wish - gap * number for number, wish in enumerate(wishes))
        groups.append((wishes, start))
    return [start + gap * number for wishes, start in groups for number in range(len(wishes))]


def _families(figure: Any, rows: Sequence[dict[str, Any]]) -> None:
    """What colours and markers mean, above the panels."""
    from matplotlib.lines import Line2D

    there = {contender(row["method"]).family for row in rows}
    handles = [
        Line2D([], [], color=color, marker=marker, linestyle="", label=family)
        for family, (color, marker) in LOOKS.items()
        if family in there
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=len(handles), frameon=False, fontsize=9)
