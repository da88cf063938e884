"""`cuetune show`: a saved prompt, readable."""

import json as json_module
from pathlib import Path
from typing import Annotated

import typer


def show(
    prompt: Annotated[Path, typer.Argument(help="Folder of a saved prompt.")],
    json: Annotated[bool, typer.Option("--json", help="Print the record as JSON.")] = False,
) -> None:
    """What a saved prompt does, how well, what it cost, and what to do with it.

    `cuetune show prompts/reviews`
    """
    from cuetune.cli.report import recorded_scores
    from cuetune.cli.tables import console, cost_line
    from cuetune.library.tuned import TunedPrompt
    from cuetune.tasks.inference import describe

    tuned = TunedPrompt.load(prompt)
    if json:
        whole = {
            "kind": tuned.prompt.kind,
            "virtual_tokens": tuned.prompt.injection().n_tokens,
            "task": tuned.task.to_dict(),
            "backbone": tuned.backbone.to_dict(),
            "record": tuned.record,
        }
        typer.echo(json_module.dumps(whole, indent=2, ensure_ascii=False))
        return
    length = tuned.prompt.injection().n_tokens
    console.print(
        f"[bold]{prompt}[/bold]: a {tuned.prompt.kind} prompt of {length} virtual tokens "
        f"({tuned.prompt.n_trained:,} learned numbers) for {tuned.backbone.name}",
        highlight=False,
    )
    for line in describe(tuned.task):
        console.print(line, highlight=False, markup=False)
    if "scores" in tuned.record:
        console.print(recorded_scores(tuned.record))
    if "cost" in tuned.record:
        console.print(cost_line(tuned.record["cost"]), highlight=False)
    if data := tuned.record.get("data"):
        console.print(
            f"tuned on {data['rows']['train']:,} rows of {data['source']}, {tuned.record.get('created', '')}, "
            f"seed {tuned.record.get('seed', 0)}",
            highlight=False,
            markup=False,
        )
    size = sum(path.stat().st_size for path in prompt.iterdir() if path.is_file())
    console.print(f"{size / 1024:.0f} KiB on disk; {prompt / 'README.md'} is its card", highlight=False)
    console.print(f"next: cuetune predict {prompt} NEW_ROWS.csv --to answers.csv", highlight=False)
    console.print(f"      cuetune evaluate {prompt} LABELLED_ROWS.csv", highlight=False)
