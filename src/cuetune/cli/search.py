"""`cuetune search`: search for the words of a hard prompt, and compare them with the initial ones."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from cuetune.cli import options as o
from cuetune.cli.expand import Group, option
from cuetune.support import console

if TYPE_CHECKING:
    from cuetune.library.tuned import TunedPrompt


@dataclass(frozen=True)
class SearchOptions(Group):
    """How the words are searched for."""

    panel: ClassVar[str] = "Search"

    method: str = option("greedy", "Search method: {searches}.")
    method_options: dict[str, str] | None = option(
        None,
        "Option of the method (docs/search.md), as name=value. Repeatable.",
        flag="--method-option",
        example="steps=100",
    )
    start: str | None = option(None, "Saved hard prompt to start from. Default: the instruction.")


def search(
    data: o.Data,
    to: o.To,
    method: SearchOptions,
    task: o.TextTaskOptions,
    reading: o.ReadOptions,
    splits: o.SplitOptions,
    model: o.TextModelOptions,
    seed: o.Seed = 0,
    restart: o.Restart = False,
    overwrite: o.Overwrite = False,
) -> None:
    """Search for the words of a hard prompt, score them and the initial prompt on test rows, and save them.

    `cuetune search reviews.csv --to prompts/words`

    `cuetune search reviews.csv --method pez --method-option length=8 --method-option steps=300 --to prompts/words`

    An interrupted search resumes when the same command is given again. Ctrl-C saves the best words so far.
    """
    from cuetune.methods.searching import search as searched

    given = {**method.given(), **splits.given(), **model.given(), **reading.given(), **task.given()}
    tuned = searched(reading.source(data), to, seed=seed, restart=restart, overwrite=overwrite, **given)
    _report(tuned, data, to)
    o.end_if_stopped(tuned)


def _report(found: "TunedPrompt", data: str, folder: Path) -> None:
    """The words, both prompts side by side, cost, and what to do with it."""
    from cuetune.cli.report import recorded_scores
    from cuetune.cli.tables import cost_line

    record, words = found.record, found.record["search"]
    if record["stopped"] == "interrupted":
        console.say("stopped by you; the best words so far are saved.", style="yellow")
    if words["note"]:
        console.say(words["note"])
    console.say(f"untouched: {words['untouched']!r}")
    console.say(f"found:     {words['found']!r}")
    if "scores" in record:
        console.show(recorded_scores(record))
    console.say(cost_line(record["cost"]))
    if words["calls"]:
        console.say(f"{words['calls']:,} calls of the proposer")
    console.say("saved to ", console.strong(folder))
    place = console.quoted(folder)
    console.say(f"next: cuetune predict {place} NEW_ROWS.csv --to answers.csv")
    again = f"cuetune tune {console.quoted(data)} --start {place} --to {console.quoted(Path(f'{folder}-tuned'))}"
    console.say(f"      {again}")
