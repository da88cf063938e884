"""`cuetune show`: a saved prompt, readable."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from cuetune.cli import options as o
from cuetune.support import console

if TYPE_CHECKING:
    from cuetune.library.tuned import TunedPrompt


def show(
    prompt: o.SavedPrompt,
    json: o.Json = False,
) -> None:
    """Show a saved prompt: its task, scores, cost, and how to use it.

    `cuetune show prompts/reviews`
    """
    from cuetune.library.tuned import TunedPrompt

    tuned = TunedPrompt.load(prompt)
    places = sorted(prompt.iterdir()) if prompt.is_dir() else [prompt]
    files = {path.name: path.stat().st_size for path in places if path.is_file()}
    if json:
        console.show_json(as_dict(tuned, files))
    else:
        show_page(tuned, prompt, files)


def as_dict(tuned: "TunedPrompt", files: dict[str, int]) -> dict[str, Any]:
    """Everything that the page shows, as JSON-ready values."""
    return {
        "kind": tuned.prompt.kind,
        "virtual_tokens": tuned.prompt.length,
        "adds": tuned.prompt.described(),
        "learned_numbers": tuned.n_trained,
        "head": tuned.head.pooling if tuned.head else None,
        "head_classes": list(tuned.head.classes) if tuned.head else [],
        "head_layer": tuned.head.layer if tuned.head else None,
        "origin": tuned.origin,
        "task": tuned.task.to_dict(),
        "backbone": tuned.backbone.to_dict(),
        "record": tuned.record,
        "files": files,
    }


def show_page(tuned: "TunedPrompt", folder: Path, files: dict[str, int]) -> None:
    """Print the page: what it is, what it is asked, how it was made, how well it does, what it cost, what is next."""
    from cuetune.cli.report import recorded_scores
    from cuetune.cli.tables import cost_line
    from cuetune.data.task_inference import describe

    record = tuned.record
    for line in [_headline(tuned, folder), *describe(tuned.task), *_mapped(tuned), *_made(tuned)]:
        console.say(line)
    if record.get("settings"):
        console.show(_settings_table(record["settings"]))
    if any(record.get("scores", {}).values()):
        console.show(recorded_scores(record))
    if record.get("cost"):
        console.say(cost_line(record["cost"]))
    for line in _files_and_next(folder, files):
        console.say(line)


def _headline(tuned: "TunedPrompt", folder: Path) -> str:
    return (
        f"{folder}: a {tuned.prompt.kind} prompt for {tuned.backbone.name}: {tuned.prompt.described()}; "
        f"{tuned.n_trained:,} learned numbers" + (f", {_head(tuned.head)}" if tuned.head else "")
    )


def _head(head: Any) -> str:
    return "no head but the model's own classes" if head.classes else f"a head on the {read_by(head)} included"


def read_by(head: Any) -> str:
    """What a head reads, in words."""
    return f"{head.pooling} state" + (f" that enters layer {head.layer}" if head.layer is not None else "")


def _mapped(tuned: "TunedPrompt") -> list[str]:
    """Which of the model's classes stand for the labels, where they do."""
    classes = tuned.head.classes if tuned.head else ()
    return [f"  {label!r} is {name!r} of the model" for label, name in zip(tuned.task.labels, classes, strict=False)]


def _made(tuned: "TunedPrompt") -> list[str]:
    """Backbone and origin, as far as they are known."""
    backbone, record = tuned.backbone, tuned.record
    known = [
        f"width {backbone.hidden_size:,}",
        f"revision {backbone.revision}" if backbone.revision else "",
        "plain path" if backbone.path == "plain" else "",
        f"weights {backbone.weights_hash[:12]}" if backbone.weights_hash else "",
        f"{backbone.prepared_by} {backbone.tokenizer_hash[:12]}" if backbone.tokenizer_hash else "",
    ]
    lines = [f"backbone {backbone.name}: " + ", ".join(filter(None, known))]
    if tuned.origin == "peft":
        lines.append("made by PEFT, which does not record the task: say it with cuetune.load(folder, task)")
    if data := record.get("data"):
        rows = f"{data['rows']['train']:,} rows of " if "train" in data["rows"] else ""
        when = f", {record['created']}" if record.get("created") else ""
        seed = f", seed {record['seed']}" if "seed" in record else ""
        lines.append(f"tuned on {rows}{data['source']}{when}{seed}")
    fixes = record.get("fixes", [])
    lines += [f"fixed {fix['created']}: {fix['corrected']:,} of {fix['rows']:,} mistakes corrected" for fix in fixes]
    return lines


def _settings_table(settings: dict[str, Any]) -> Any:
    table = console.table("setting", "value", title="settings, as used")
    for name, value in settings.items():
        if value not in (None, ""):
            table.add_row(name.replace("_", " "), str(value))
    return table


def _files_and_next(folder: Path, files: dict[str, int]) -> list[str]:
    from cuetune.library.saving import CARD

    place = console.quoted(folder)
    listed = ", ".join(f"{name} {size:,}" for name, size in files.items())
    about = [f"{folder / CARD} is its card"] if CARD in files else []
    return [
        f"{sum(files.values()) / 1024:.0f} KiB on disk; bytes: {listed}",
        *about,
        f"next: cuetune predict {place} NEW_ROWS.csv --to answers.csv",
        f"      cuetune evaluate {place} LABELLED_ROWS.csv",
    ]
