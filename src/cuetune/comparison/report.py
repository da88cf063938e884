"""What a comparison came to: one row per method and size, as values, as Markdown and as a table for the terminal."""

import json
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from cuetune.comparison.contenders import contender
from cuetune.metrics.classification import WITHIN, metric_name
from cuetune.metrics.intervals import interval
from cuetune.support import console
from cuetune.support.files import atomic_file

REFERENCE = "linear-probe"
MEANS = ("seconds", "flops", "kwh", "latency", "peak_memory_bytes", "stored_bytes", "trained", "best_step", "steps")


@dataclass(frozen=True)
class Price:
    """What an hour and a kilowatt-hour cost, in USD; per_hour None: only electricity is paid. note: where from."""

    per_hour: float | None
    per_kwh: float
    note: str

    def of(self, seconds: float, kwh: float) -> float:
        return kwh * self.per_kwh if self.per_hour is None else seconds / 3600 * self.per_hour


def summarise(
    results: Sequence[dict[str, Any]], sizes: Sequence[int], trials: Sequence[dict[str, Any]] = (), price: Any = None
) -> list[dict[str, Any]]:
    """One row per size and method: means over seeds, scores with their 95 % confidence interval.

    Methods that use no training rows (size 0) stand at every size. over_probe: see `over`. search: the learning rates
    that were tried, each with its validation accuracy; search_seconds, search_flops: what that took.
    """
    rows = []
    for size in sizes:
        probes = [each for each in results if (each["method"], each["size"]) == (REFERENCE, size)]
        for method in dict.fromkeys(result["method"] for result in results):
            runs = [each for each in results if each["method"] == method and each["size"] in (0, size)]
            tried = [each for each in trials if (each["method"], each["size"]) == (method, size)]
            if runs:
                row = _row(method, size, runs, sorted(tried, key=lambda each: each["factor"]), price)
                rows.append(row | {"over_probe": over(runs, probes)})
    return rows


def over(runs: Sequence[dict[str, Any]], probes: Sequence[dict[str, Any]]) -> dict[str, float | None] | None:
    """By how much runs are better than linear probes on the same draws of rows, draw by draw, with an interval.

    What one draw makes easy or hard for both drops out, so that this says more than two intervals beside each other.
    None for the probe itself, and for methods that draw no rows.
    """
    metric = compared_by(runs[0]["scores"])
    probed = {(each["size"], each["seed"]): each["scores"][metric] for each in probes}
    pairs = [(each["scores"][metric], probed.get((each["size"], each["seed"]))) for each in runs]
    gains = [mine - its for mine, its in pairs if its is not None]
    return (
        interval(gains, (-2.0, 2.0) if metric in WITHIN else (-1.0, 1.0))
        if gains and runs[0]["method"] != REFERENCE
        else None
    )


def _row(
    method: str, size: int, runs: list[dict[str, Any]], tried: list[dict[str, Any]], price: Price | None
) -> dict[str, Any]:
    row: dict[str, Any] = {"method": method, "title": contender(method).title, "size": size, "seeds": len(runs)}
    row["metrics"] = list(runs[0]["scores"])
    for metric in row["metrics"]:
        row[metric] = interval([run["scores"][metric] for run in runs], WITHIN.get(metric, (0.0, 1.0)))
    row |= {name: statistics.mean(run[name] for run in runs) for name in MEANS}
    row["dollars"] = None if price is None else price.of(row["seconds"], row["kwh"])
    row["rate"] = runs[0]["rate"]
    row["search"] = [{"rate": each["rate"], **each["validation"]} for each in tried]
    row["search_seconds"] = sum(each["seconds"] for each in tried)
    row["search_flops"] = sum(each["flops"] for each in tried)
    row["rising"] = sum(run["best_step"] == run["steps"] > 0 and not run["stopped"] for run in runs)
    row["energy"] = next((run["energy_kind"] for run in runs if run["energy_kind"]), "")
    row["note"] = runs[0]["note"]
    return row


OVER = "over the probe"
COLUMNS: dict[str, Callable[[dict[str, Any]], str]] = {
    "trained": lambda row: f"{row['trained']:,.0f}",
    "stored": lambda row: amount(row["stored_bytes"]),
    "train s": lambda row: short(row["seconds"]),
    "TFLOP": lambda row: short(row["flops"] / 1e12),
    "Wh": lambda row: short(row["kwh"] * 1000),
    "US cents": lambda row: "" if row["dollars"] is None else short(row["dollars"] * 100),
    "memory": lambda row: amount(row["peak_memory_bytes"]),
    "latency ms": lambda row: short(row["latency"] * 1000),
    "best step": lambda row: "" if not row["steps"] else f"{row['best_step']:.0f}{' ↑' if row['rising'] else ''}",
    "rate": lambda row: "" if row["rate"] is None else f"{row['rate']:.2g}",
}


def short(value: float) -> str:
    """Three digits, never in powers of ten."""
    return f"{float(f'{value:.3g}'):,.12f}".rstrip("0").rstrip(".")


def score(value: dict[str, float | None]) -> str:
    """A score and its interval: 0.861 (0.842–0.880)."""
    spread = "" if value["low"] is None else f" ({value['low']:.3f}–{value['high']:.3f})"
    return f"{value['value']:.3f}{spread}"


def gain(value: dict[str, float | None] | None) -> str:
    """A difference of scores and its interval: +0.036 (+0.008 to +0.063)."""
    if value is None:
        return ""
    spread = "" if value["low"] is None else f" ({value['low']:+.3f} to {value['high']:+.3f})"
    return f"{value['value']:+.3f}{spread}"


def columns(rows: Sequence[dict[str, Any]]) -> dict[str, Callable[[dict[str, Any]], str]]:
    """The columns of a table of these rows; without a probe nothing is compared with one."""
    first, *others = metrics_of(rows[0])
    made: dict[str, Callable[[dict[str, Any]], str]] = {"method": lambda row: str(row["method"])}
    made |= {title(first): lambda row: score(row[first])}
    if any(row["over_probe"] for row in rows):
        made[OVER] = lambda row: gain(row["over_probe"])
    return made | {title(name): partial(_score_of, name) for name in others} | COLUMNS


def _score_of(metric: str, row: dict[str, Any]) -> str:
    return score(row[metric])


def metrics_of(row: dict[str, Any]) -> list[str]:
    """The metrics of a row, the one that methods are compared by first; accuracy where a row does not say."""
    return list(row.get("metrics") or ("accuracy", "macro_f1"))


def compared_by(scores: Mapping[str, Any]) -> str:
    """The metric that methods are compared by: the first of their scores, higher is better."""
    return next(iter(scores))


def title(metric: str) -> str:
    """A metric as a column's heading."""
    return {"macro_f1": "macro-F1", "micro_f1": "micro-F1"}.get(metric, metric_name(metric))


def amount(size: float) -> str:
    """A number of bytes in a unit that leaves few digits."""
    for unit in ("B", "KiB", "MiB"):
        if size < 1000:
            return f"{short(size)} {unit}"
        size /= 1024
    return f"{short(size)} GiB"


def best_first(rows: Sequence[dict[str, Any]], size: int) -> list[dict[str, Any]]:
    return sorted((row for row in rows if row["size"] == size), key=lambda row: -row[metrics_of(row)[0]]["value"])


def markdown(rows: Sequence[dict[str, Any]], heading: str, notes: Sequence[str]) -> str:
    """One table per size, best first, the learning rates that were tried, and the notes."""
    parts, shown = [f"# {heading}"], columns(rows)
    for size in dict.fromkeys(row["size"] for row in rows):
        ordered = best_first(rows, size)
        lines = ["| " + " | ".join(shown) + " |", "| --- |" + " ---: |" * (len(shown) - 1)]
        lines += ["| " + " | ".join(cell(row) for cell in shown.values()) + " |" for row in ordered]
        parts += [f"## {size:,} training rows", "\n".join(lines)]
        tried = [line for row in ordered if (line := searched(row))]
        if tried:
            parts.append(
                f"Learning rates tried, with validation {_chosen_by(ordered)}:\n\n"
                + "\n".join(f"- {line}" for line in tried)
            )
    return "\n\n".join([*parts, *notes]) + "\n"


def _chosen_by(rows: Sequence[dict[str, Any]]) -> str:
    """What learning rates are chosen by: accuracy where there is one, else the loss."""
    return "accuracy" if metrics_of(rows[0])[0] == "accuracy" else "loss"


def searched(row: dict[str, Any]) -> str:
    """The search over learning rates in one line; empty where there was none."""
    if not row["search"]:
        return ""
    metric = _chosen_by([row])
    tried = ", ".join(f"{each['rate']:.2g} → {each.get(metric, math.nan):.3f}" for each in row["search"])
    return f"{row['method']}: {tried}; taken {row['rate']:.2g} ({row['search_seconds']:.0f} s)"


def terminal_table(rows: Sequence[dict[str, Any]], size: int) -> console.Table:
    """The table of one size for the terminal, the best score in bold."""
    table = console.table(title=f"{size:,} training rows")
    ordered, shown = best_first(rows, size), columns(rows)
    for name in shown:
        table.add_column(name, justify="left" if name == "method" else "right", no_wrap=name == "method")
    for number, row in enumerate(ordered):
        table.add_row(*(cell(row) for cell in shown.values()), style="bold" if number == 0 else None)
    return table


def write_json(path: Path, value: Any) -> None:
    with atomic_file(path) as stream:
        json.dump(value, stream, indent=1, ensure_ascii=False)


def write_text(path: Path, text: str) -> None:
    with atomic_file(path) as stream:
        stream.write(text)
