"""How many labelled rows a prompt is worth (Le Scao & Rush, NAACL 2021): the distance between two learning curves.

Two methods are scored after training on 10, 20, 50, … rows, several runs each. Where their best scores overlap, the
advantage at a score y is the rows the first method needs to reach y less the rows the second needs; its mean over the
window of common scores is the number reported. Interpolation is linear in the number of rows, as in the paper's code.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from cuetune.errors import CuetuneError
from cuetune.support.figures import new_figure, save_figure, words

LEVELS = 1000  # scores inside the window that the mean is taken over
NARROW = 0.1  # a window below this share of all scores is too small a basis (MultiRC in the paper: 0.05)
Window = tuple[float, float]


@dataclass(frozen=True)
class Curve:
    """A monotone learning curve: sizes (m,) rising, in rows; scores (m,), the best of any run with so many or fewer."""

    sizes: np.ndarray
    scores: np.ndarray

    @property
    def range(self) -> Window:
        return float(self.scores[0]), float(self.scores[-1])

    def rows_to_reach(self, levels: np.ndarray) -> np.ndarray:
        """Rows (n,) at which the curve first reaches each level; its first size below it, its last size above it."""
        after = np.searchsorted(self.scores, levels, side="left")
        inner = np.clip(after, 1, max(1, len(self.scores) - 1))
        before = inner - 1
        inner = np.minimum(inner, len(self.scores) - 1)
        rise = self.scores[inner] - self.scores[before]
        share = np.clip((levels - self.scores[before]) / np.where(rise > 0, rise, 1.0), 0.0, 1.0)
        between = self.sizes[before] + share * (self.sizes[inner] - self.sizes[before])
        return np.where(after == 0, self.sizes[0], np.where(after == len(self.scores), self.sizes[-1], between))


@dataclass(frozen=True)
class Advantage:
    """What the second method is worth against the first, in labelled rows.

    points: mean over the window; None when the curves have no score in common. spread: standard deviation when one run
    of each method is held out, over all pairs; None with a single run. window: the common scores, (low, high).
    at_least: the mean over all scores that either reaches, where a curve counts as at its first or last size outside
    its own range: for a method that is ahead, a lower bound that exists even without a common score.
    sentence: the result in words.
    """

    points: float | None
    spread: float | None
    window: Window | None
    at_least: float
    sentence: str

    @property
    def low(self) -> float | None:
        return None if self.points is None else self.points - (self.spread or 0.0)

    @property
    def high(self) -> float | None:
        return None if self.points is None else self.points + (self.spread or 0.0)


def advantage(
    sizes: Sequence[float],
    scores_a: Any,
    scores_b: Any,
    *,
    window: Window | None = None,
    name_a: str = "the other method",
    name_b: str = "this prompt",
) -> Advantage:
    """Labelled rows that method B (the prompt) is worth against method A; positive when B needs fewer.

    sizes: (m,) training rows, rising. scores_a, scores_b: (m, runs) or (m,), higher is better, NaN where a run is
    missing. window: scores to average over instead of the common ones: `common_window` of one pair, so that the
    differences of three methods add up, or `whole_region`. Raises CuetuneError for sizes that do not rise, shapes that
    do not fit, or no scores.
    """
    a, b = (_table(sizes, scores, name) for scores, name in ((scores_a, name_a), (scores_b, name_b)))
    rows = np.asarray(sizes, dtype=float)
    curve_a, curve_b = curve(rows, a), curve(rows, b)
    chosen = window or _overlap(curve_a, curve_b)
    points = None if chosen is None else _mean_gap(curve_a, curve_b, chosen)
    spread = None if chosen is None else _spread(rows, a, b, window)
    at_least = _mean_gap(curve_a, curve_b, _region(curve_a, curve_b))
    ranges = curve_a.range, curve_b.range
    sentence = _sentence(points, spread, chosen, at_least, ranges, name_a, name_b)
    return Advantage(points, spread, chosen, at_least, sentence)


def common_window(sizes: Sequence[float], scores_a: Any, scores_b: Any) -> Window | None:
    """Scores (low, high) that both methods pass through, or None; arguments as in `advantage`."""
    return _overlap(*_curves(sizes, scores_a, scores_b))


def whole_region(sizes: Sequence[float], scores_a: Any, scores_b: Any) -> Window:
    """All scores (low, high) that either method passes through, for when the common ones are too few."""
    return _region(*_curves(sizes, scores_a, scores_b))


def curve(sizes: np.ndarray, scores: np.ndarray) -> Curve:
    """The accumulated maximum of a table of scores (m, runs): the best that any run reached with so many rows."""
    present = ~np.isnan(scores).all(axis=1)
    best = np.nanmax(scores[present], axis=1)
    return Curve(sizes[present], np.maximum.accumulate(best))


def plot_curves(
    path: str | Path,
    sizes: Sequence[float],
    scores_a: Any,
    scores_b: Any,
    *,
    name_a: str = "other method",
    name_b: str = "prompt",
    metric: str = "score",
) -> Path:
    """Draw both learning curves over training rows (log scale) with their runs and the shaded window, and save them.

    Arguments as in `advantage`; the ending of `path` says the format. Needs the extra `plots`.
    """
    result = advantage(sizes, scores_a, scores_b, name_a=name_a, name_b=name_b)
    rows = np.asarray(sizes, dtype=float)
    figure = new_figure(7, 4.2)
    axes = figure.add_subplot()
    for scores, name, color in ((scores_a, name_a, "#D55E00"), (scores_b, name_b, "#0072B2")):
        table = _table(sizes, scores, name)
        drawn = curve(rows, table)
        axes.plot(np.repeat(rows, table.shape[1]), table.ravel(), ".", color=color, alpha=0.35, markersize=5)
        axes.plot(drawn.sizes, drawn.scores, "-o", color=color, label=words(name), markersize=4)
    if result.window is not None:
        axes.axhspan(*result.window, color="tab:gray", alpha=0.15, label="scores both reach")
    axes.set(xscale="log", xlabel="training rows", ylabel=words(metric))
    axes.set_xticks(rows, [f"{size:,.0f}" for size in rows])
    axes.minorticks_off()
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(words(result.sentence), fontsize=9, loc="left", wrap=True)
    axes.legend(loc="best", frameon=False)
    return save_figure(figure, Path(path))


def _table(sizes: Sequence[float], scores: Any, name: str) -> np.ndarray:
    """Scores as (m, runs), checked against the sizes."""
    rows = np.asarray(sizes, dtype=float)
    if rows.ndim != 1 or len(rows) < 2 or (np.diff(rows) <= 0).any():
        raise CuetuneError(f"training sizes {list(sizes)}: expected at least two, each larger than the one before.")
    table = np.asarray(scores, dtype=float)
    table = table[:, None] if table.ndim == 1 else table
    if table.ndim != 2 or len(table) != len(rows):
        raise CuetuneError(
            f"scores of {name}: shape {np.shape(scores)}, but there are {len(rows)} training sizes; give one row of "
            "scores per size and one column per run."
        )
    if (~np.isnan(table).all(axis=1)).sum() < 2:
        raise CuetuneError(f"scores of {name}: fewer than two sizes have a score, so there is no learning curve.")
    return table


def _curves(sizes: Sequence[float], scores_a: Any, scores_b: Any) -> tuple[Curve, Curve]:
    rows = np.asarray(sizes, dtype=float)
    named = (scores_a, "the first method"), (scores_b, "the second method")
    first, second = (curve(rows, _table(sizes, scores, name)) for scores, name in named)
    return first, second


def _region(a: Curve, b: Curve) -> Window:
    ends = a.range + b.range
    return min(ends), max(ends)


def _overlap(a: Curve, b: Curve) -> Window | None:
    low, high = max(a.range[0], b.range[0]), min(a.range[1], b.range[1])
    return (low, high) if high > low else None


def _mean_gap(a: Curve, b: Curve, window: Window) -> float:
    """Mean of x_A(y) - x_B(y) over interior scores y: the area between the curves by the window's height."""
    low, high = window
    levels = low + np.arange(1, LEVELS + 1) / (LEVELS + 1) * (high - low)
    return float(np.mean(a.rows_to_reach(levels) - b.rows_to_reach(levels)))


def _spread(rows: np.ndarray, a: np.ndarray, b: np.ndarray, window: Window | None) -> float | None:
    """Standard deviation of the advantage over all ways to hold out one run of each method."""
    if min(a.shape[1], b.shape[1]) < 2:
        return None
    gaps = []
    for i, j in product(range(a.shape[1]), range(b.shape[1])):
        left_a, left_b = np.delete(a, i, axis=1), np.delete(b, j, axis=1)
        if any((~np.isnan(left).all(axis=1)).sum() < 2 for left in (left_a, left_b)):
            continue
        pair = curve(rows, left_a), curve(rows, left_b)
        chosen = window or _overlap(*pair)
        if chosen is not None:
            gaps.append(_mean_gap(*pair, chosen))
    return float(np.std(gaps)) if len(gaps) > 1 else None


def _sentence(
    points: float | None,
    spread: float | None,
    window: Window | None,
    at_least: float,
    ranges: tuple[Window, Window],
    name_a: str,
    name_b: str,
) -> str:
    if points is None or window is None:
        said = f"{name_b} reached {_span(ranges[1])} and {name_a} {_span(ranges[0])}: no score in common"
        if ranges[1][0] > ranges[0][1]:
            return f"{said}, so only a lower bound: {name_b} is worth at least {_about(at_least)} labelled rows."
        if ranges[0][0] > ranges[1][1]:
            return f"{said}, so only a lower bound: {name_a} is worth at least {_about(-at_least)} labelled rows."
        return f"{said}, so a number of rows cannot be stated."
    margin = "" if spread is None else f" (± {_about(spread)})"
    where = f"at scores of {_span(window)}"
    if abs(points) < max(1.0, spread or 0.0):
        return f"{name_b} and {name_a} need about the same number of labelled rows{margin} {where}."
    whole = max(ranges[0][1], ranges[1][1]) - min(ranges[0][0], ranges[1][0])
    few = window[1] - window[0] < NARROW * whole
    caution = "; few scores are common, so the number says little" if few else ""
    if points > 0:
        return f"{name_b} is worth about {_about(points)} labelled rows{margin} against {name_a} {where}{caution}."
    return f"{name_b} needs about {_about(-points)} more labelled rows{margin} than {name_a} {where}{caution}."


def _about(rows: float) -> str:
    """Two digits are all that such an estimate carries."""
    return f"{float(f'{rows:.2g}'):,.0f}"


def _span(window: Window) -> str:
    return f"{window[0]:.3g} to {window[1]:.3g}"
