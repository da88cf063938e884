"""The accuracy matrix of a stream as an image: rows are what was learned so far, columns what is asked."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cuetune.metrics.continual import largest_drop, mean_matrix, one_step_drop
from cuetune.support.figures import new_figure, save_figure, words

LEAST = 0.55  # from here on a cell is dark, and its number white
NUMBERED = 12  # larger matrices have no room for numbers


def draw_matrices(path: Path, runs: Mapping[str, Sequence[np.ndarray]], tasks: Sequence[str]) -> Path:
    """One panel for each method: the mean of R over its runs, and in its title A_N and both forgettings.

    runs: method -> matrices (N, N). tasks: names, in the stream's order.
    Raises CuetuneError when matplotlib is missing.
    """
    columns = min(3, len(runs))
    lines = -(-len(runs) // columns)
    side = max(4.6, 0.62 * len(tasks) + 1.6)
    figure = new_figure(side * columns, (side + 0.7) * lines)
    panels = figure.subplots(lines, columns, squeeze=False).ravel()
    for axes, (method, matrices) in zip(panels, runs.items(), strict=False):
        shown = _panel(axes, method, matrices, tasks)
    for axes in panels[len(runs) :]:
        axes.set_visible(False)
    figure.colorbar(shown, ax=panels.tolist(), shrink=min(0.6, 1 / lines), label="accuracy on held-out rows")
    return save_figure(figure, path)


def _panel(axes: Any, method: str, matrices: Sequence[np.ndarray], tasks: Sequence[str]) -> Any:
    R = mean_matrix(matrices)
    shown = axes.imshow(R, cmap="cividis_r", vmin=0, vmax=1)
    if len(R) <= NUMBERED:
        for i, j in zip(*np.nonzero(~np.isnan(R)), strict=True):
            color = "white" if R[i, j] > LEAST else "black"
            axes.text(j, i, f"{100 * R[i, j]:.0f}", ha="center", va="center", color=color, fontsize=9)
    places, names = range(len(R)), [words(task, 40) for task in tasks]
    axes.set_xticks(places, names, rotation=45, ha="right", rotation_mode="anchor", fontsize=8)
    axes.set_yticks(places, names, fontsize=8)
    axes.set(xlabel="asked about", ylabel="after learning")
    axes.spines[:].set_visible(False)
    axes.set_title(_title(method, matrices), loc="left", fontsize=9)
    return shown


def _title(method: str, matrices: Sequence[np.ndarray]) -> str:
    """A_N and both forgettings, in points."""
    final, drop, step = (
        100 * float(np.mean([measure(R) for R in matrices]))
        for measure in (lambda R: np.nanmean(R[-1]), largest_drop, one_step_drop)
    )
    runs = f", {len(matrices)} runs" if len(matrices) > 1 else ""
    forgotten = "" if np.isnan(drop) else f"\nforgetting {drop:.1f} (best − final), {step:.1f} (one step)"
    return f"{words(method)}: $A_N$ {final:.1f}{runs}{forgotten}"
