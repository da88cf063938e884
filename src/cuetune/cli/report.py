"""The closing summary of a run: scores against baselines, cost, where things are, what to do next."""

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from cuetune.cli.tables import cost_line
from cuetune.data.skip_report import Skipped
from cuetune.library.tuned import TunedPrompt
from cuetune.library.universal import UniversalPrompt
from cuetune.methods.transfer.transfer import Transferred
from cuetune.metrics.classification import best_of, metric_name
from cuetune.support import console


def report_tuned(tuned: TunedPrompt, folder: Path, model: str | None = None) -> None:
    """Print what a person wants to know when `tune` has ended."""
    record = tuned.record
    if record.get("stopped") == "interrupted":
        console.say(f"stopped by you; the best step so far ({record['best_step']}) is saved.", style="yellow")
    elif record.get("stopped") == "early":
        console.say(f"stopped early: no better validation score since step {record['best_step']}.")
    if "scores" in record:
        console.show(recorded_scores(record))
    if "cost" in record:
        console.say(cost_line(record["cost"]))
    console.say("saved to ", console.strong(folder))
    named = f" --model {console.quoted(model)}" if model and _lies_in_a_folder(model) else ""
    console.say(f"next: cuetune predict {console.quoted(folder)} NEW_ROWS.csv --to answers.csv{named}")


def _lies_in_a_folder(model: str) -> bool:
    """Whether a model is named by its folder: a prompt records the folder's own name, by which it is not found."""
    plain = model.rpartition("@")[0] or model
    return Path(model).is_dir() or Path(plain).is_dir()


def report_skipped(skipped: Skipped | None) -> None:
    """Print what was left out, where that was asked for."""
    for line in skipped.lines() if skipped else ():
        console.say(line)


def report_notes(source: Any) -> None:
    """Print what there is to say of a source that was read: splits, and files that were left out."""
    from cuetune.data.sources import notes_of

    for line in notes_of(source):
        console.say(line)


def recorded_scores(record: dict) -> console.Table:
    """The scores that a saved prompt carries: method by metric, with intervals."""
    scores = record["scores"]
    names = list(dict.fromkeys(name for each in scores.values() for name in each))
    title = f"{record['scored_rows']:,} held-out rows, 95 % confidence intervals"
    table = console.table("prompt", *map(metric_name, names), title=title)
    best = {name: best_of(name, [each[name]["value"] for each in scores.values() if name in each]) for name in names}
    for method, each in scores.items():
        cells = [_cell(each.get(name), best[name]) for name in names]
        table.add_row(method, *cells)
    return table


def _cell(score: dict | None, best: float) -> console.Part:
    if score is None:
        return ""
    text = f"{score['value']:.3f} ({score['low']:.3f}–{score['high']:.3f})"
    return console.strong(text) if score["value"] == best else text


def report_universal(universal: UniversalPrompt, folder: Path) -> None:
    """Print what a person wants to know of a universal prompt: every task's scores, cost, what to do next."""
    methods = list(dict.fromkeys(name for each in universal.tasks.values() for name in each.record.get("scores", {})))
    table = console.table("task", *methods, "rows", title="held-out accuracy, 95 % confidence intervals")
    for name, tuned in universal.tasks.items():
        scores = tuned.record.get("scores", {})
        best = max((each["accuracy"]["value"] for each in scores.values() if "accuracy" in each), default=0.0)
        cells = [_cell(scores.get(method, {}).get("accuracy"), best) for method in methods]
        table.add_row(name, *cells, f"{tuned.record.get('scored_rows', 0):,}")
    console.show(table)
    console.say(cost_line(universal.record["cost"]))
    each = universal.prompt.rank * sum(universal.prompt.shared.shape)
    console.say(f"a task holds {each:,} numbers of its own beside the shared ones")
    console.say("saved to ", console.strong(folder), f"; every task is a prompt of its own in {folder}/tasks")
    console.say(f"next: cuetune multitask adapt {console.quoted(folder)} NEW_TASK.csv --train-rows 16 --to prompts/new")


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
        console.say(f"accuracy by draw: {each}; mean {fmean(scored):.3f}, {spread}")
    console.say("saved to ", console.strong(folder), f"/draw-0 to draw-{len(tuned) - 1}")
    console.say(
        f"next: cuetune ensemble {console.quoted(folder)}/draw-* --to {console.quoted(Path(f'{folder}-voting'))}"
    )


def report_transferred(transferred: Transferred, folder: Path) -> None:
    """Print what was predicted of each prompt and what came of it."""
    record = transferred.tuned.record
    words = _accuracy(record, "tuned" if transferred.chosen == "words" else "from words")
    table = console.table(
        "start", "similarity", "accuracy at once", "loss saved at once", "accuracy, tuned", "gain over words"
    )
    table.title, table.title_justify = "prompts of the library: predicted, then measured", "left"
    for each in transferred.proposals:
        alike = "" if each.similarity is None else f"{each.similarity:+.2f}"
        start, found = each.at_start.get("accuracy"), each.measured.get("accuracy")
        measured = "" if found is None else f"{found:.3f}"
        gain = "" if found is None or words is None else f"{100 * (found - words):+.1f} points"
        at_once = "" if start is None else f"{start:.3f}"
        table.add_row(each.candidate.name, alike, at_once, f"{each.gain:+.3f}", measured, gain)
    console.show(table)
    report_tuned(transferred.tuned, folder)
    console.say("it started from ", console.strong(transferred.chosen))


def _accuracy(record: dict, method: str) -> float | None:
    return record.get("scores", {}).get(method, {}).get("accuracy", {}).get("value")
