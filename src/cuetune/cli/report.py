"""The closing summary of a run: scores against baselines, cost, where things are, what to do next."""

from pathlib import Path

from rich.table import Table

from cuetune.cli.tables import console, cost_line
from cuetune.library.tuned import TunedPrompt


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
