"""The closing summary of a run: scores against baselines, cost, where things are, what to do next."""

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from rich.table import Table

from cuetune.cli.tables import console, cost_line
from cuetune.library.tuned import TunedPrompt
from cuetune.library.universal import UniversalPrompt
from cuetune.methods.recycling.recycling import Recycled
from cuetune.tasks.skipped import Skipped


def report_tuned(tuned: TunedPrompt, folder: Path) -> None:
    """Print what a person wants to know when `tune` has ended."""
    record = tuned.record
    if record.get("stopped") == "interrupted":
        console.print(f"[yellow]stopped by you; the best step so far ({record['best_step']}) is saved.[/yellow]")
    elif record.get("stopped") == "early":
        console.print(f"stopped early: no better validation score since step {record['best_step']}.")
    if "scores" in record:
        console.print(recorded_scores(record))
    if "cost" in record:
        console.print(cost_line(record["cost"]), highlight=False)
    console.print(f"saved to [bold]{folder}[/bold]", highlight=False)
    console.print(f"next: cuetune predict {folder} NEW_ROWS.csv --to answers.csv", highlight=False)


def report_skipped(skipped: Skipped | None) -> None:
    """Print what was left out, where that was asked for."""
    for line in skipped.lines() if skipped else ():
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def recorded_scores(record: dict) -> Table:
    """The scores that a saved prompt carries: method by metric, with intervals."""
    scores = record["scores"]
    names = list(dict.fromkeys(name for each in scores.values() for name in each))
    title = f"{record['scored_rows']:,} held-out rows, 95 % confidence intervals"
    table = Table("prompt", *(name.replace("_", "-") for name in names), title=title, title_justify="left")
    best = {name: max(each[name]["value"] for each in scores.values() if name in each) for name in names}
    for method, each in scores.items():
        cells = [_cell(each.get(name), best[name]) for name in names]
        table.add_row(method, *cells)
    return table


def _cell(score: dict | None, best: float) -> str:
    if score is None:
        return ""
    text = f"{score['value']:.3f} ({score['low']:.3f}–{score['high']:.3f})"
    return f"[bold]{text}[/bold]" if score["value"] == best else text


def report_universal(universal: UniversalPrompt, folder: Path) -> None:
    """Print what a person wants to know of a universal prompt: every task's scores, cost, what to do next."""
    methods = list(dict.fromkeys(name for each in universal.tasks.values() for name in each.record.get("scores", {})))
    table = Table("task", *methods, "rows", title="held-out accuracy, 95 % confidence intervals", title_justify="left")
    for name, tuned in universal.tasks.items():
        scores = tuned.record.get("scores", {})
        best = max((each["accuracy"]["value"] for each in scores.values() if "accuracy" in each), default=0.0)
        cells = [_cell(scores.get(method, {}).get("accuracy"), best) for method in methods]
        table.add_row(name, *cells, f"{tuned.record.get('scored_rows', 0):,}")
    console.print(table)
    console.print(cost_line(universal.record["cost"]), highlight=False)
    each = universal.prompt.rank * sum(universal.prompt.shared.shape)
    console.print(f"a task holds {each:,} numbers of its own beside the shared ones", highlight=False)
    console.print(
        f"saved to [bold]{folder}[/bold]; every task is a prompt of its own in {folder}/tasks", highlight=False
    )
    console.print(f"next: cuetune multitask adapt {folder} NEW_TASK.csv --rows 16 --to prompts/new", highlight=False)


def report_draws(tuned: Sequence[TunedPrompt], folder: Path) -> None:
    """Print one run's summary, or of several draws each one's accuracy and their mean."""
    if len(tuned) == 1:
        report_tuned(tuned[0], folder)
        return
    found = [each.record.get("scores", {}).get("tuned", {}).get("accuracy", {}).get("value") for each in tuned]
    scored = [value for value in found if value is not None]
    if scored:
        each = ", ".join(f"{value:.3f}" for value in scored)
        spread = f"lowest {min(scored):.3f}, highest {max(scored):.3f}"
        console.print(f"accuracy by draw: {each}; mean {fmean(scored):.3f}, {spread}", highlight=False)
    console.print(f"saved to [bold]{folder}[/bold]/draw-0 to draw-{len(tuned) - 1}", highlight=False)
    console.print(f"next: cuetune ensemble {folder}/draw-* --to {folder}-voting", highlight=False)


def report_recycled(recycled: Recycled, folder: Path) -> None:
    """Print what was predicted of each prompt and what came of it."""
    record = recycled.tuned.record
    words = _accuracy(record, "tuned" if recycled.chosen == "words" else "from words")
    table = Table("start", "similarity", "accuracy at once", "loss saved at once", "accuracy, tuned", "gain over words")
    table.title, table.title_justify = "prompts of the library: predicted, then measured", "left"
    for each in recycled.proposals:
        alike = "" if each.similarity is None else f"{each.similarity:+.2f}"
        start, found = each.at_start.get("accuracy"), each.measured.get("accuracy")
        measured = "" if found is None else f"{found:.3f}"
        gain = "" if found is None or words is None else f"{100 * (found - words):+.1f} points"
        at_once = "" if start is None else f"{start:.3f}"
        table.add_row(each.candidate.name, alike, at_once, f"{each.gain:+.3f}", measured, gain)
    console.print(table)
    report_tuned(recycled.tuned, folder)
    console.print(f"it started from [bold]{recycled.chosen}[/bold]", highlight=False)


def _accuracy(record: dict, method: str) -> float | None:
    return record.get("scores", {}).get(method, {}).get("accuracy", {}).get("value")
