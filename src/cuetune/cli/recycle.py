"""`cuetune recycle`: a prompt for another model with the same vocabulary, without training."""

from pathlib import Path
from typing import Annotated

import typer

from cuetune.cli import options as o
from cuetune.support import console


def recycle(
    prompt: Annotated[Path, typer.Argument(help="Folder of a saved prompt.")],
    model: Annotated[str, typer.Option("--model", help="Target model: bundled, local folder or hub id.")],
    to: Annotated[Path, typer.Option("--to", help="Folder for the recycled prompt.")],
    source: Annotated[
        str | None, typer.Option("--from-model", help="Where the prompt's own model is, if not under its name.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the prompt that stands at --to.")] = False,
    revision: o.Revision = None,
    dtype: o.Dtype = "auto",
    device: o.Device = "auto",
) -> None:
    """Recycle a prompt for another model with the same vocabulary (Lester et al. 2022): its words are mapped, not
    tuned.

    `cuetune recycle prompts/reviews --model my-org/larger-model --to prompts/reviews-larger`

    What arrives is worse than a prompt that was tuned there; take it as a start: `cuetune tune … --start`.
    """
    from cuetune.backbones.loading import text_backbone
    from cuetune.methods.recycling import recycle as run
    from cuetune.verbs import backbone_for, load

    tuned = load(prompt)
    ours = text_backbone(backbone_for(tuned, source, str(prompt), dtype=dtype, device=device))
    recycled = run(tuned, ours, text_backbone(model, **o.model_options(revision, dtype, device, False)))
    recycled.save(to, overwrite=overwrite)
    explained = recycled.record["map_explains"]
    console.say(f"the map of the words explains {explained:.0%} of what words held out differ in")
    console.say("saved to ", console.strong(to))
    console.say(f"next: cuetune evaluate {console.quoted(to)} LABELLED_ROWS.csv")
