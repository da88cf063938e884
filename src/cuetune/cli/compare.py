"""`cuetune compare`: methods side by side on one's own data, with what each costs."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cuetune.cli import options as o
from cuetune.errors import CuetuneError
from cuetune.support import console, signals

if TYPE_CHECKING:
    from cuetune.cost.prices import Prices

Methods = Annotated[list[str] | None, typer.Option("--methods", help="Comma-separated; all for every one.")]
Sizes = Annotated[str | None, typer.Option("--sizes", help="Training rows, comma-separated; else all, at most 1,000.")]
Seeds = Annotated[int, typer.Option("--seeds", help="Draws of training rows and random starts.")]
Steps = Annotated[int, typer.Option("--steps", help="Most updates of a tuned run.")]
BatchSize = Annotated[int, typer.Option("--batch-size", help="Rows in one update.")]
Length = Annotated[int, typer.Option("--length", help="Virtual tokens.")]
Search = Annotated[bool, typer.Option("--search/--no-search", help="Try several learning rates for each method.")]
Validation = Annotated[str | None, typer.Option("--validation", help="Rows to choose on; else a tenth of DATA.")]
Test = Annotated[str | None, typer.Option("--test", help="Rows to score on; else a fifth of DATA.")]
PricePerHour = Annotated[float | None, typer.Option("--price-per-hour", help="USD for an hour of this machine.")]
PriceTable = Annotated[Path | None, typer.Option("--prices", help="JSON or TOML file with your GPUs and prices.")]
Watts = Annotated[float | None, typer.Option("--watts", help="Power of this machine, where it has no counter.")]


def compare(
    data: Annotated[str, typer.Argument(help="CSV, TSV, JSONL or Parquet file, a folder, or a name for `datasets`.")],
    to: Annotated[Path, typer.Option("--to", help="Folder for runs, tables and plots.")],
    methods: Methods = None,
    sizes: Sizes = None,
    seeds: Seeds = 3,
    steps: Steps = 100,
    batch_size: BatchSize = 16,
    length: Length = 20,
    search: Search = True,
    validation: Validation = None,
    test: Test = None,
    price_per_hour: PricePerHour = None,
    prices: PriceTable = None,
    watts: Watts = None,
    text: o.Text = None,
    image: o.Image = None,
    audio: o.Audio = None,
    video: o.Video = None,
    label: o.Label = None,
    labels: o.Labels = None,
    kind: o.TaskKind = None,
    labels_from: o.LabelsFrom = None,
    label_delimiter: o.LabelDelimiter = None,
    label_words: o.LabelWords = None,
    template: o.Template = None,
    instruction: o.Instruction = None,
    columns: o.Columns = None,
    max_tokens: o.MaxTokens = None,
    skip_unreadable: o.SkipUnreadable = False,
    no_splits: o.NoSplits = False,
    media_root: o.MediaRoot = None,
    allow_download: o.AllowDownload = False,
    head_layer: o.HeadLayer = None,
    augment: o.Augment = "none",
    encoding: o.Encoding = "utf-8",
    delimiter: o.Delimiter = None,
    quoting: o.Quoting = "standard",
    column_names: o.ColumnNames = None,
    group_by: o.GroupBy = None,
    hold_out: o.HoldOut = None,
    model: o.AnyModel = None,
    revision: o.Revision = None,
    dtype: o.Dtype = "auto",
    device: o.Device = "auto",
    trust_remote_code: o.TrustRemoteCode = False,
) -> None:
    """Prompts, LoRA, fine-tuning and a linear probe on the same rows: scores with intervals, and what each costs.

    `cuetune compare reviews.csv --to comparison`

    `cuetune compare reviews.csv --to comparison --methods soft,prefix,lora --sizes 64,1000 --seeds 3`

    A comparison that was stopped goes on when the same command is given again.
    """
    from cuetune.evaluation.compare import compare as run
    from cuetune.evaluation.report import terminal_table

    source = o.source(data, no_splits, media_root, allow_download, (delimiter, quoting, column_names))
    arguments: dict[str, Any] = {
        "methods": o.as_list(methods),
        "sizes": numbers(sizes, "--sizes"),
        "seeds": seeds,
        "steps": steps,
        "batch_size": batch_size,
        "length": length,
        "search": search,
        "validation": validation,
        "test": test,
        "model": model,
        "price_per_hour": price_per_hour,
        "prices": price_table(prices),
        "watts": watts,
        "model_options": o.model_options(revision, dtype, device, trust_remote_code),
        "text": text,
        "image": image,
        "audio": audio,
        "video": video,
        "skip_unreadable": skip_unreadable,
        "head_layer": head_layer,
        "augment": augment,
        "label": label,
        "labels": o.as_list(labels),
        "kind": kind,
        "labels_from": o.as_list(labels_from),
        "label_delimiter": label_delimiter,
        "label_words": o.as_list(label_words),
        "template": template,
        "instruction": instruction,
        "columns": o.as_mapping(columns),
        "max_tokens": max_tokens,
        "encoding": encoding,
        "group_by": group_by,
        "hold_out": o.as_hold_out(hold_out),
    }
    try:
        made = run(source, to, log=console.note, **arguments)
    except KeyboardInterrupt:
        stopped(to)
    for size in made.sizes:
        console.show(terminal_table(made.rows, size))
    for note in made.notes:
        console.say(note)
    console.say("written to ", console.strong(to))


def stopped(folder: Path) -> None:
    """What a person should know who stopped a comparison."""
    console.note(f"stopped; finished runs are kept in {folder}. The same command goes on.")
    sys.exit(signals.exit_code())


def numbers(text: str | None, option: str) -> tuple[int, ...] | None:
    """Whole numbers from "64,1000"."""
    if text is None:
        return None
    try:
        return tuple(int(part.replace("_", "")) for part in text.split(","))
    except ValueError as error:
        raise CuetuneError(f"{option} {text!r}: write whole numbers separated by commas, e.g. 64,1000.") from error


def price_table(path: Path | None) -> "Prices | None":
    from cuetune.cost.prices import read_prices

    return read_prices(path) if path else None
