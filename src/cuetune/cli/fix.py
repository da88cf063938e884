"""`cuetune fix`: mistakes of a saved prompt corrected, without keeping the rows."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from cuetune.cli import options as o
from cuetune.support import console

if TYPE_CHECKING:
    from cuetune.methods.correcting.measuring import Fixed
    from cuetune.prompts import CorrectedPrompt


def fix(
    prompt: Annotated[Path, typer.Argument(help="Folder of a saved prompt.")],
    corrections: Annotated[
        str | None, typer.Argument(help="Rows that it answered wrongly, with the label that is right.")
    ] = None,
    to: Annotated[Path | None, typer.Option("--to", help="Folder for the result; else PROMPT is replaced.")] = None,
    eval_data: Annotated[
        str | None,
        typer.Option("--eval-data", help="Labelled rows to score before and after; none is learned from."),
    ] = None,
    undo: Annotated[bool, typer.Option("--undo", help="Take the last fix back instead.")] = False,
    steps: Annotated[int, typer.Option(help="Updates of the new components.", min=1)] = 20,
    length: Annotated[int, typer.Option(help="Positions of each component; those of the first fix hold.", min=1)] = 2,
    seed: Annotated[int, typer.Option(help="Decides which rows share a component, and their order.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the prompt that stands at --to.")] = False,
    encoding: o.Encoding = "utf-8",
    model: o.SavedModel = None,
    revision: o.Revision = None,
    dtype: o.Dtype = "auto",
    device: o.Device = "auto",
) -> None:
    """Correct mistakes with new components that act on rows like them; the prompt itself stays as it is.

    `cuetune fix prompts/reviews corrections.csv`

    `cuetune fix prompts/reviews corrections.csv --eval-data test.csv --to prompts/reviews-2`

    `cuetune fix prompts/reviews --undo`

    Nothing is kept of the rows: delete the file of corrections afterwards. `--undo` restores the former prompt bit by
    bit. A fix that is stopped leaves the prompt as it was.
    """
    from cuetune.errors import CuetuneError

    if undo == (corrections is not None):
        raise CuetuneError("give a file of corrections, or --undo to take the last fix back.")
    if corrections is None:
        _undo(prompt, to, overwrite)
        return
    from cuetune.methods.correcting.correcting import fix as run

    fixed = run(
        prompt,
        corrections,
        to=to,
        eval_data=eval_data,
        model=model,
        steps=steps,
        length=length,
        seed=seed,
        overwrite=overwrite,
        encoding=encoding,
        model_options=o.model_options(revision, dtype, device, False),
    )
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
