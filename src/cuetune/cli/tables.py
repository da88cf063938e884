"""What several verbs print: scores side by side, the confusion matrix, a run's cost."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from cuetune.evaluation.evaluate import Evaluation

console = Console()


def scores_table(evaluation: "Evaluation") -> Table:
    """Method by metric with 95 % intervals; the best value of each column stands out."""
    names = list(next(iter(evaluation.results.values())).scores)
    table = Table(title=f"{evaluation.rows:,} held-out rows, 95 % confidence intervals", title_justify="left")
    table.add_column("prompt")
    for name in names:
        table.add_column(name.replace("_", "-"))
    calibrated = any(result.calibration_error is not None for result in evaluation.results.values())
    if calibrated:
        table.add_column("calibration error")
    table.add_column("rows/s", justify="right")
    for method, result in evaluation.results.items():
        best = {name: max(other.scores[name].value for other in evaluation.results.values()) for name in names}
        cells = [f"[bold]{s}[/bold]" if s.value == best[name] else str(s) for name, s in result.scores.items()]
        if calibrated:
            cells.append("" if result.calibration_error is None else f"{result.calibration_error:.3f}")
        table.add_row(method, *cells, f"{evaluation.rows / max(result.seconds, 1e-9):.0f}")
    return table


def confusion_table(labels: Sequence[str], counts: Any) -> Table:
    """True labels down, predicted labels across."""
    table = Table(title="confusion: true label down, predicted across", title_justify="left")
    table.add_column("")
    for label in labels:
        table.add_column(label, justify="right")
    for row, label in enumerate(labels):
        table.add_row(
            label, *(f"[bold]{n:,}[/bold]" if row == column else f"{n:,}" for column, n in enumerate(counts[row]))
        )
    return table


def cost_line(cost: Mapping[str, Any]) -> str:
    """One line: time, steps, tokens, operations, memory, stored bytes."""
    return (
        f"cost: {cost['seconds']:.0f} s for {cost['steps']} steps ({cost['tokens']:,} tokens, {cost['tflop']:.1f} "
        f"TFLOP) on {cost['device']}, peak memory {cost['peak_memory_bytes'] / 2**20:,.0f} MiB; "
        f"{cost['trained_parameters']:,} trained numbers, {cost['stored_bytes'] / 1024:.0f} KiB stored"
    )


@contextmanager
def downloading(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar that grows with the bytes of a download; pass what it yields as `progress`."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    stderr = Console(stderr=True)
    columns = (
        TextColumn(f"fetching {what}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=stderr, disable=not stderr.is_terminal, transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, size: bar.update(task, completed=done, total=max(size, done) or None)
