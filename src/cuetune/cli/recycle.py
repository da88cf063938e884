"""`cuetune recycle`: a prompt for another model with the same vocabulary, without training."""

from typing import Annotated

import typer

from cuetune.cli import options as o
from cuetune.support import console


def recycle(
    prompt: o.SavedPrompt,
    model: Annotated[
        str,
        typer.Option(
            "--model", help="Target model: a bundled model, a local folder or a hub id.", rich_help_panel=o.MODEL
        ),
    ],
    to: o.To,
    loading: o.LoadOptions,
    from_model: Annotated[
        str | None,
        typer.Option(
            "--from-model",
            help="Load the prompt's own model from here. Default: the name saved with the prompt.",
            rich_help_panel=o.MODEL,
        ),
    ] = None,
    overwrite: o.Overwrite = False,
) -> None:
    """Recycle a prompt for another model with the same vocabulary (Lester et al. 2022), without training.

    `cuetune recycle prompts/reviews --model my-org/larger-model --to prompts/reviews-larger`

    A linear map between the two embedding tables is applied to the prompt. The result scores below a prompt that is
    tuned on the target model; use it as a start: `cuetune tune … --start`.
    """
    from cuetune.api.predict import backbone_for, load
    from cuetune.backbones.registry import text_backbone
    from cuetune.methods.recycling import recycle as recycled_for

    tuned = load(prompt)
    own = backbone_for(tuned, from_model, str(prompt), dtype=loading.dtype, device=loading.device)
    recycled = recycled_for(tuned, text_backbone(own), text_backbone(model, **loading.loading()))
    recycled.save(to, overwrite=overwrite)
    explained = recycled.record["map_explains"]
    console.say(f"the map of the words explains {explained:.0%} of what words held out differ in")
    console.say("saved to ", console.strong(to))
    console.say(f"next: cuetune evaluate {console.quoted(to)} LABELLED_ROWS.csv")
