"""`cuetune library`: prompts kept together, with versions, search and lineage."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cuetune.cli.lines import MOST_IN_TABLE, show_lines
from cuetune.errors import CuetuneError
from cuetune.support import console

if TYPE_CHECKING:
    from cuetune.library.entry import Entry
    from cuetune.library.lineage import Kin, Lineage

Library = Annotated[str, typer.Argument(help="Folder of the library, or an address such as s3://bucket/prompts.")]
Name = Annotated[str, typer.Argument(help="Name of a prompt in it.")]
Version = Annotated[str | None, typer.Option("--version", help="Version, or its first digits. Default: the newest.")]

app = typer.Typer(help="A library of saved prompts: versions, search, lineage.", no_args_is_help=True)


@app.command("list")
def list_prompts(library: Library) -> None:
    """List every prompt with its newest version.

    `cuetune library list team-prompts`
    """
    from cuetune.library.collection import PromptLibrary

    entries, faults = PromptLibrary(library).survey()
    newest = {entry.name: entry for entry in reversed(entries)}
    counts = Counter(entry.name for entry in entries)
    _print_entries([newest[name] for name in sorted(newest)], counts)
    for fault in faults:
        console.say(f"passed over: {fault}")
    place = console.quoted(library)
    if entries:
        console.say(f"next: cuetune library show {place} {entries[0].name}")
    else:
        console.say(f"{library}: no prompts yet")
        console.say(f"next: cuetune library add {place} PROMPT")


@app.command("add")
def add(
    library: Library,
    prompt: Annotated[Path, typer.Argument(help="Folder of a saved prompt.")],
    name: Annotated[str | None, typer.Option("--name", help="Name in the library. Default: the folder's name.")] = None,
) -> None:
    """Add a saved prompt. Its folder stays unchanged; adding the same prompt twice gives one version.

    `cuetune library add team-prompts prompts/reviews`

    `cuetune library add s3://bucket/prompts runs/17 --name reviews`
    """
    from cuetune.library.collection import PromptLibrary

    shelf = PromptLibrary(library)
    entry = shelf.add(prompt, name)
    count = len(shelf.versions(entry.name))
    console.say(f"{entry.name} is in {library} as version {entry.version}, one of {count}")
    console.say(f"next: cuetune library show {console.quoted(library)} {entry.name}")


@app.command("show")
def show(library: Library, name: Name, version: Version = None) -> None:
    """Show a prompt as `cuetune show` does, with its versions and its lineage.

    `cuetune library show team-prompts reviews`

    `cuetune library show team-prompts reviews --version 3fa2`
    """
    from cuetune.cli.show import show_page
    from cuetune.library.collection import PromptLibrary
    from cuetune.library.tuned import TunedPrompt

    shelf = PromptLibrary(library)
    entry = shelf.entry(name, version)
    folder = shelf.fetch(name, entry.version)
    tuned = TunedPrompt.load(folder)
    _print_versions(shelf.versions(name), entry)
    _print_lineage(shelf.lineage(name, entry.version))
    show_page(tuned, folder, {path.name: path.stat().st_size for path in sorted(folder.iterdir()) if path.is_file()})


@app.command("search")
def search(
    library: Library,
    text: Annotated[list[str] | None, typer.Argument(help="Search terms (all must match).")] = None,
    task: Annotated[str | None, typer.Option("--task", help="Part of the task's name.")] = None,
    backbone: Annotated[str | None, typer.Option("--backbone", help="Part of the model's name.")] = None,
    label: Annotated[str | None, typer.Option("--label", help="One of the task's labels.")] = None,
    kind: Annotated[str | None, typer.Option("--kind", help="Kind of prompt: soft, hard, prefix, …")] = None,
    min_score: Annotated[float | None, typer.Option("--min-score", help="Minimum score.")] = None,
) -> None:
    """Search for versions that meet every condition; the best score comes first.

    `cuetune library search team-prompts sentiment --min-score 0.9`

    `cuetune library search team-prompts --backbone smollm2-135m --label positive`
    """
    from cuetune.library.collection import PromptLibrary

    found = PromptLibrary(library).search(
        " ".join(text or []), task=task, backbone=backbone, label=label, kind=kind, min_score=min_score
    )
    _print_entries(found)
    place = console.quoted(library)
    if found:
        console.say(f"next: cuetune library show {place} {found[0].name} --version {found[0].version}")
    else:
        console.say(f"nothing in {library} meets that")
        console.say(f"next: cuetune library list {place}")


@app.command("remove")
def remove(
    library: Library,
    name: Name,
    version: Annotated[str | None, typer.Option("--version", help="Version, or its first digits.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Remove every version.")] = False,
) -> None:
    """Remove a version of a prompt. If there are several, name one with --version, or use --all.

    `cuetune library remove team-prompts reviews --version 3fa2`
    """
    from cuetune.library.collection import PromptLibrary

    shelf = PromptLibrary(library)
    if version is not None and every:
        raise CuetuneError("--version and --all: give one of the two.")
    there = shelf.versions(name)
    if version is None and not every and len(there) > 1:
        known = ", ".join(entry.version for entry in there[:5])
        raise CuetuneError(f"{name} has {len(there)} versions ({known}); say which with --version, or --all.")
    for entry in shelf.remove(name, version):
        console.say(f"removed {entry.name}, version {entry.version}")
    console.say(f"next: cuetune library list {console.quoted(library)}")


def _print_entries(entries: "list[Entry]", counts: dict[str, int] | None = None) -> None:
    """counts: how many versions there are of each name, where only one of them is shown."""
    headings = ["prompt", "version", *(["of"] if counts else []), "task", "labels", "kind", "model", "score", "created"]
    rows = []
    for entry in entries:
        of = [str(counts[entry.name])] if counts else []
        rows.append([entry.name, entry.version, *of, entry.task, *_about(entry)])
    if len(rows) > MOST_IN_TABLE:
        show_lines(headings, rows)
        return
    table = console.table()
    for heading in headings:
        fitted = heading not in ("prompt", "version")
        table.add_column(heading, no_wrap=not fitted, justify="right" if heading == "of" else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    if entries:
        console.show(table)


def _about(entry: "Entry") -> tuple[str, ...]:
    labels = ", ".join(entry.labels[:4]) + (f" and {len(entry.labels) - 4} more" if len(entry.labels) > 4 else "")
    length = "" if entry.length is None else f", {entry.length}"
    return labels or _answer(entry), entry.kind + length, entry.backbone, _score(entry), entry.created


def _answer(entry: "Entry") -> str:
    """What a prompt without labels answers; its metric tells."""
    return "a number" if entry.score is not None and entry.score[0] == "pearson" else "written"


def _score(entry: "Entry") -> str:
    if entry.score is None:
        return ""
    metric, score = entry.score
    return f"{metric.replace('_', '-')} {score.value:.3f}"


def _print_versions(versions: "list[Entry]", shown: "Entry") -> None:
    table = console.table("version", "created", "added", "score", "", title=f"versions of {shown.name}")
    for entry in versions:
        here = "this one" if entry == shown else ""
        table.add_row(entry.version, entry.created, entry.added[:16], _score(entry), here)
    console.show(table)


def _print_lineage(lineage: "Lineage") -> None:
    for kin in lineage.ancestors:
        console.say(f"{kin.relation} {_who(kin)}")
    for kin in lineage.descendants:
        console.say(f"{_who(kin)} was made from it: {kin.relation}")


def _who(kin: "Kin") -> str:
    where = f"version {kin.entry.version}" if kin.entry else f"{kin.digest[:16]}, which is not in this library"
    return f"{kin.name} ({where}{f', {kin.steps} steps away' if kin.steps > 1 else ''})"
