"""`cuetune demo`: the main job from nothing to answers, in minutes, on a real model and real reviews."""

from pathlib import Path
from typing import Annotated, Any

import typer

from cuetune.support import console

SENTENCES = (
    "Stopped working after a week and support never answered.",
    "Crisp picture, easy to set up, worth every cent.",
    "The manual is useless, but once it runs it runs beautifully.",
    "I would not give this to my worst enemy.",
)
STEPS = 100


def demo(
    to: Annotated[Path, typer.Option("--to", help="Folder for the saved prompt.")] = Path("runs/demo/amazon"),
    steps: Annotated[int, typer.Option(help="Updates of the prompt.")] = STEPS,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, …")] = "auto",
    dtype: Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16.")] = "auto",
) -> None:
    """Tune a prompt for SmolLM2-135M on Amazon reviews, compare it with prompts in words, and use it.

    Fetches the model (89 MiB) and the reviews (2 MiB) the first time; takes about three minutes on two cores.
    """
    from cuetune.api.predict import predict_rows
    from cuetune.api.tune import tune
    from cuetune.backbones.registry import load_backbone
    from cuetune.cli.options import end_if_stopped
    from cuetune.cli.predict import show_answers
    from cuetune.cli.report import report_tuned
    from cuetune.cli.tables import downloading
    from cuetune.modality import TEXT
    from cuetune.tuning.settings import Settings
    from cuetune_catalog.datasets.registry import pull_data
    from cuetune_catalog.models.bundled import MODELS, is_cached, pull

    data = to.parent / "data"
    if not is_cached(TEXT.model):
        console.say(f"fetching {TEXT.model} ({MODELS[TEXT.model].size / 2**20:.0f} MiB, once) …")
    with downloading(TEXT.model) as progress:
        pull(TEXT.model, progress)
    with downloading("reviews-amazon") as progress:
        path = pull_data("reviews-amazon", data, progress)
    where = f"{console.quoted(path)} --to {console.quoted(to)}"
    console.say(f"$ cuetune tune {where} --steps {steps} --evaluate-every 20 --template …", style="bold")
    backbone = load_backbone(TEXT.model, device=device, dtype=dtype)
    options: dict[str, Any] = {
        "instruction": "Classify the sentiment of the review as negative or positive.",
        "template": "Review: {text}\nSentiment:",
    }
    tuned = tune(
        path,
        to,
        model=backbone,
        settings=Settings(steps=steps, evaluate_every=min(steps, 20)),
        overwrite=True,
        restart=True,
        **options,
    )
    end_if_stopped(tuned)
    console.say()
    console.say("new sentences:", style="bold")
    rows = [{"text": sentence} for sentence in SENTENCES]
    show_answers(tuned.task, predict_rows(tuned, rows, model=backbone))
    report_tuned(tuned, to)
