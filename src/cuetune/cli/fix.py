"""`cuetune fix`: correct mistakes of a saved prompt, without keeping the rows."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, cast

import typer

from cuetune.cli import options as o
from cuetune.cli.expand import Group, option
from cuetune.errors import CuetuneError
from cuetune.support import console

if TYPE_CHECKING:
    from cuetune.methods.correcting.measuring import Fixed
    from cuetune.prompts import CorrectedPrompt


@dataclass(frozen=True)
class RowOptions(Group):
    """What is read."""

    panel: ClassVar[str] = o.DATA

    eval_data: str | None = option(None, "Labelled rows to score before and after, not trained on. Default: none.")
    encoding: str = option("utf-8", "Encoding of text files.")


@dataclass(frozen=True)
class FixOptions(Group):
    """How the mistakes are corrected."""

    panel: ClassVar[str] = "Training"

    steps: int = option(20, "Training steps of the new components.", min=1)
    length: int = option(2, "Prefix length per component, fixed by the first fix.", min=1)
    seed: int = option(0, "Random seed of the grouping and order of rows.")


def fix(
    prompt: o.SavedPrompt,
    rows: RowOptions,
    fixing: FixOptions,
    model: o.SavedModelOptions,
    corrections: Annotated[
        str | None, typer.Argument(help="Rows that the prompt answered wrongly, with the right label.")
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option("--to", help="Folder for the result. Default: PROMPT is replaced.", rich_help_panel=o.OUTPUT),
    ] = None,
    undo: Annotated[
        bool, typer.Option("--undo", help="Undo the last fix instead.", rich_help_panel="Training")
    ] = False,
    overwrite: o.Overwrite = False,
) -> None:
    """Correct mistakes with new components that act on similar rows only; the prompt itself is unchanged.

    `cuetune fix prompts/reviews corrections.csv`

    `cuetune fix prompts/reviews corrections.csv --eval-data test.csv --to prompts/reviews-2`

    `cuetune fix prompts/reviews --undo`

    No row is stored in the prompt: you can delete the file of corrections afterwards. `--undo` restores the former
    prompt bit by bit. An interrupted fix leaves the prompt unchanged.
    """
    if undo == (corrections is not None):
        raise CuetuneError("give a file of corrections, or --undo to take the last fix back.")
    if corrections is None:
        _undo(prompt, to, overwrite)
        return
    from cuetune.methods.correcting.correcting import fix as fixed_by

    given = {**rows.given(), **fixing.given(), **model.given()}
    fixed = fixed_by(prompt, corrections, to=to, overwrite=overwrite, **given)
    _report(fixed, to or prompt, corrections)


def _undo(prompt: Path, to: Path | None, overwrite: bool) -> None:
    from cuetune.methods.correcting.rolling_back import roll_back

    former = roll_back(prompt, to=to, overwrite=overwrite)
    left = len(former.record.get("fixes", []))
    console.say(f"the last fix is taken back: {former.prompt.described()}")
    console.say("saved to ", console.strong(to or prompt), f"; {left} fixes are left")


def _report(fixed: "Fixed", folder: Path, corrections: str) -> None:
    """What a person wants to know: corrected, effect on other rows, where it is, what to do next."""
    from cuetune.cli.report import recorded_scores

    lines = [f"corrected: {fixed.corrected} of {fixed.mistakes} mistakes"]
    if fixed.right:
        lines.append(f"right already: {fixed.kept} of {fixed.right} are still")
    for line in lines:
        console.say(line)
    if "scores" in fixed.tuned.record:
        console.show(recorded_scores(fixed.tuned.record))
    if fixed.changed is not None:
        changed = fixed.changed
        console.say(
            f"held-out answers that changed: {changed.answers} ({changed.to_right} to right, {changed.to_wrong} to "
            "wrong)"
        )
    prompt = cast("CorrectedPrompt", fixed.tuned.prompt)
    added = sum(part.numel() for part in prompt.each[-1].parameters())
    console.say(f"changed: {added:,} new numbers; {prompt.described()}")
    console.say("saved to ", console.strong(folder), "; it holds nothing of the rows")
    console.say(f"next: rm {console.quoted(Path(corrections))}" if Path(corrections).is_file() else "next:")
    console.say(f"      cuetune fix {console.quoted(folder)} --undo")
