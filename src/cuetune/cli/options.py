"""Options that several verbs share, said once, and how their texts become values."""

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cuetune.errors import CuetuneError

if TYPE_CHECKING:
    from cuetune.library.tuned import TunedPrompt

Text = Annotated[str | None, typer.Option("--text", help="Column with the text; else inferred.")]
Label = Annotated[str | None, typer.Option("--label", help="Column with the label or target text; else inferred.")]
Labels = Annotated[list[str] | None, typer.Option("--labels", help="Label names, comma-separated or repeated.")]
LabelWords = Annotated[
    list[str] | None,
    typer.Option("--label-words", help="Words to score: one for each label in their order, or label=word pairs."),
]
TaskKind = Annotated[
    str | None,
    typer.Option(
        "--task", help="classification, multi-label, regression or generation. Default: inferred from the rows."
    ),
]
LabelsFrom = Annotated[
    list[str] | None, typer.Option("--labels-from", help="Columns of 0 and 1, one for each label: toxic,insult,threat.")
]
LabelDelimiter = Annotated[
    str | None, typer.Option("--label-delimiter", help="What stands between several labels in a cell, e.g. '|'.")
]
Template = Annotated[
    str | None,
    typer.Option(
        "--template",
        help="Text around the columns: 'Review: {text}\\nSentiment:'. 'chat' takes the model's own chat template, with "
        "the instruction as the system's text; 'chat: Review: {text}' says the user's.",
    ),
]
Instruction = Annotated[str | None, typer.Option("--instruction", help="What hard prompts say before the text.")]
Columns = Annotated[list[str] | None, typer.Option("--columns", help="field=column for template fields; repeatable.")]
MaxTokens = Annotated[int | None, typer.Option("--max-tokens", help="Longest text; the middle of longer ones is cut.")]
Encoding = Annotated[str, typer.Option("--encoding", help="Encoding of text files.")]
Image = Annotated[str | None, typer.Option("--image", help="Column with pictures; else inferred.")]
Audio = Annotated[str | None, typer.Option("--audio", help="Column with recordings; else inferred.")]
Video = Annotated[str | None, typer.Option("--video", help="Column with clips; else inferred.")]
HeadLayer = Annotated[
    int | None, typer.Option("--head-layer", help="Layer whose input a head on pictures reads; else the final states.")
]
Augment = Annotated[
    str,
    typer.Option(
        "--augment",
        help="Changes pictures that are learned from at random in every step: crop, flip or crop,flip; else none.",
    ),
]
SkipUnreadable = Annotated[
    bool,
    typer.Option(
        "--skip-unreadable",
        help="Leave out rows that cannot be used: without a label or text, with an unknown label, with an image, audio "
        "or video that cannot be read.",
    ),
]
NoSplits = Annotated[
    bool, typer.Option("--no-splits", help="Folders named train, val, test, … are labels. Default: they are splits.")
]
MediaRoot = Annotated[
    Path | None, typer.Option("--media-root", help="Folder that paths in a table start from. Default: the table's own.")
]
AllowDownload = Annotated[
    bool, typer.Option("--allow-download", help="Fetch files that a table names by http(s) address.")
]
Delimiter = Annotated[
    str | None, typer.Option("--delimiter", help="Character between cells of a text table. Default: found.")
]
Quoting = Annotated[
    str, typer.Option("--quoting", help="standard, or none where quotation marks are part of the texts of a table.")
]
ColumnNames = Annotated[
    list[str] | None,
    typer.Option("--column-names", help="Names of the columns of a table without a header row: text,label."),
]
GroupBy = Annotated[
    str | None,
    typer.Option("--group-by", help="Column whose equal rows stay on one side of the split: a speaker, a patient."),
]
HoldOut = Annotated[
    list[str] | None,
    typer.Option(
        "--hold-out", help="column=value,… of the rows to score on, instead of rows at random: style=cartoon,drawing."
    ),
]
Model = Annotated[str, typer.Option("--model", help="Bundled model, local folder or hub id (`cuetune models`).")]
AnyModel = Annotated[
    str | None,
    typer.Option("--model", help="Bundled model, folder or hub id; else smollm2-135m, for pictures dinov2-small."),
]
SavedModel = Annotated[
    str | None, typer.Option("--model", help="Where the prompt's model is, if not under its own name.")
]
Revision = Annotated[str | None, typer.Option("--revision", help="Revision of a hub model.")]
Dtype = Annotated[str, typer.Option("--dtype", help="auto, float32, bfloat16 or float16.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1, …")]
TrustRemoteCode = Annotated[bool, typer.Option("--trust-remote-code", help="Run code that a hub model brings along.")]


def source(
    data: str,
    no_splits: bool = False,
    media_root: Path | None = None,
    allow_download: bool = False,
    table: tuple[str | None, str, list[str] | None] = (None, "standard", None),
) -> Any:
    """The rows that are named, with how their files are found and how a table is written.

    table: delimiter, quoting and column names.
    """
    from cuetune.tasks.layout import Layout
    from cuetune.tasks.sources import Source

    if media_root is not None and not media_root.is_dir():
        raise CuetuneError(
            f"--media-root {media_root}: no such folder; name the one that the table's paths start from."
        )
    delimiter, quoting, column_names = table
    said = {"\\t": "\t", "tab": "\t"}.get(delimiter or "", delimiter)
    layout = Layout(said, quoting, tuple(as_list(column_names) or ()))  # type: ignore[arg-type]  # checked there
    return Source(data, splits=not no_splits, media_root=media_root, allow_download=allow_download, layout=layout)


def as_list(values: list[str] | None) -> list[str] | None:
    """Repeated options, or one with commas, as a list; repeated ones keep their outer spaces.

    In one option a name that holds a comma stands in quotation marks: '"Food, drink",Other'.
    """
    if not values:
        return None
    if len(values) == 1 and "," in values[0]:
        return [part.strip() for part in next(csv.reader([values[0]], skipinitialspace=True))]
    return values


def as_mapping(
    values: list[str] | None, option: str = "--columns", example: str = "text=review_body"
) -> dict[str, str] | None:
    """Repeated name=value pairs as a dictionary."""
    if not values:
        return None
    pairs = [value.partition("=") for value in values]
    wrong = [field for field, equals, column in pairs if not (field and equals and column)]
    if wrong:
        raise CuetuneError(f"{option} {wrong[0]!r}: write name=value, e.g. {option} {example}.")
    return {field: column for field, _, column in pairs}


def as_hold_out(values: list[str] | None) -> dict[str, list[str]] | None:
    """Repeated column=value,value as a dictionary of lists."""
    said: dict[str, list[str]] = {}
    for value in values or ():
        pairs = as_mapping([value], "--hold-out", "style=cartoon,drawing") or {}
        for column, cells in pairs.items():
            said.setdefault(column, []).extend(cell.strip() for cell in cells.split(","))
    return said or None


def checked(settings: Any, values: dict[str, Any]) -> Any:
    """Settings from options; a value out of range is one line that names the option."""
    from pydantic import ValidationError

    try:
        return settings(**values)
    except ValidationError as error:
        first = error.errors()[0]
        option = "--" + str(first["loc"][0]).replace("_", "-")
        raise CuetuneError(f"{option} {first.get('input')!r}: {first['msg'].lower()}.") from error


def model_options(revision: str | None, dtype: str, device: str, trust_remote_code: bool) -> dict[str, Any]:
    """What `load_backbone` takes besides the name; a revision that is not given is left to the prompt's own."""
    options: dict[str, Any] = {"dtype": dtype, "device": device, "trust_remote_code": trust_remote_code}
    return options if revision is None else {**options, "revision": revision}


def end_if_stopped(*tuned: "TunedPrompt") -> None:
    """End as a stopped command does (`signals.exit_code`) where a run was interrupted, once all is saved and said."""
    if any(each.record.get("stopped") == "interrupted" for each in tuned):
        raise KeyboardInterrupt
