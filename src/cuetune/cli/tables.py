"""What several verbs print: scores side by side, the confusion matrix, a run's cost."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from cuetune.metrics.classification import best_of, metric_name
from cuetune.support import bars, console

if TYPE_CHECKING:
    from cuetune.evaluation.evaluate import Evaluation


def scores_table(evaluation: "Evaluation") -> console.Table:
    """Method by metric with 95 % intervals; the best value of each column stands out."""
    names = list(next(iter(evaluation.results.values())).scores)
    table = console.table(title=f"{evaluation.rows:,} held-out rows, 95 % confidence intervals")
    table.add_column("prompt")
    for name in names:
        table.add_column(metric_name(name), overflow="fold")  # an interval is never cut
    calibrated = any(result.calibration_error is not None for result in evaluation.results.values())
    if calibrated:
        table.add_column("calibration error")
    table.add_column("rows/s", justify="right")
    for method, result in evaluation.results.items():
        best = {
            name: best_of(name, [each.scores[name].value for each in evaluation.results.values()]) for name in names
        }
        cells = [console.strong(s) if s.value == best[name] else str(s) for name, s in result.scores.items()]
        if calibrated:
            cells.append("" if result.calibration_error is None else f"{result.calibration_error:.3f}")
        table.add_row(method, *cells, f"{evaluation.rows / max(result.seconds, 1e-9):.0f}")
    return table


def label_table(per_label: Sequence[Mapping[str, Any]]) -> console.Table:
    """Of several labels for a row: how well each is found, and from which probability it is given."""
    table = console.table("label", title="by label")
    for name in ("threshold", "precision", "recall", "F1", "support"):
        table.add_column(name, justify="right")
    for each in per_label:
        values = [f"{each[name]:.3f}" for name in ("threshold", "precision", "recall", "f1")]
        table.add_row(each["label"], *values, f"{each['support']:,}")
    return table


def confusion_table(labels: Sequence[str], counts: Any) -> console.Table:
    """True labels down, predicted labels across."""
    table = console.table(title="confusion: true label down, predicted across")
    table.add_column("")
    for label in labels:
        table.add_column(label, justify="right")
    for row, label in enumerate(labels):
        table.add_row(
            label, *(console.strong(f"{n:,}") if row == column else f"{n:,}" for column, n in enumerate(counts[row]))
        )
    return table


def cost_line(cost: Mapping[str, Any]) -> str:
    """One line: time, steps, tokens, operations, those of validation, memory, stored bytes."""
    validation = cost.get("validation_tflop")
    validated = f", and {validation:.3g} TFLOP to validate" if validation else ""
    return (
        f"cost: {cost['seconds']:.0f} s for {cost['steps']} steps ({cost['tokens']:,} tokens, {cost['tflop']:.3g} "
        f"TFLOP{validated}) on {cost['device']}, peak memory {cost['peak_memory_bytes'] / 2**20:,.0f} MiB; "
        f"{cost['trained_parameters']:,} trained numbers, {cost['stored_bytes'] / 1024:.0f} KiB stored"
    )


@contextmanager
def downloading(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar that grows with the bytes of a download; pass what it yields as `progress`."""
    with bars.download_bar() as bar:
        task = bar.add_task(f"fetching {what}", total=None)
        yield lambda done, size: bar.update(task, completed=done, total=max(size, done) or None)
