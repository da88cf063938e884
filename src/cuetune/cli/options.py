"""Options that several verbs share, each declared once."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import typer

from cuetune.cli.expand import Group, option
from cuetune.errors import CuetuneError

if TYPE_CHECKING:
    from cuetune.data.skip_report import Skipped
    from cuetune.data.sources import Source
    from cuetune.library.tuned import TunedPrompt

TASK, DATA, MODEL, OUTPUT = "Task", "Data", "Model", "Output"

Data = Annotated[
    str,
    typer.Argument(
        help="Labelled rows: a CSV, TSV, JSONL, Parquet or Excel file, a folder with one subfolder per label, or a "
        "data set's name (`cuetune data`)."
    ),
]
SavedPrompt = Annotated[Path, typer.Argument(help="Folder of a saved prompt.")]
To = Annotated[Path, typer.Option("--to", help="Folder for the saved prompt.", rich_help_panel=OUTPUT)]
Restart = Annotated[
    bool,
    typer.Option("--restart", help="Start over instead of resuming an interrupted run.", rich_help_panel=OUTPUT),
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace the prompt that is in --to already.", rich_help_panel=OUTPUT)
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.", rich_help_panel=OUTPUT)]
Seed = Annotated[
    int, typer.Option("--seed", help="Random seed of splits, samples and the order of rows.", rich_help_panel=DATA)
]
TrainRows = Annotated[
    int | None,
    typer.Option(
        "--train-rows",
        help="Few-shot: train on this many rows, sampled per label, and keep the last step. Default: all rows.",
        rich_help_panel=DATA,
    ),
]


@dataclass(frozen=True)
class TextTaskOptions(Group):
    """What the columns of texts are, and what is asked of the model. What is not given is inferred."""

    panel: ClassVar[str] = TASK

    text: str | None = option(None, "Column with the text. Default: inferred.")
    label: str | None = option(None, "Column with the label or the target text. Default: inferred.")
    labels: list[str] | None = option(None, "Label names, comma-separated or repeated. Default: those in the data.")
    label_words: list[str] | None = option(
        None, "Word to score for each label: one per label in order, or label=word pairs. Default: the labels."
    )
    template: str | None = option(
        None,
        "Text around the columns, e.g. 'Review: {text}\\nSentiment:'. 'chat' uses the model's chat template with the "
        "instruction as the system message; 'chat: Review: {text}' sets the user message. Default: inferred.",
    )
    instruction: str | None = option(None, "Instruction before the text in text prompts. Default: inferred.")
    columns: dict[str, str] | None = option(
        None,
        "Column for a field of the template, as field=column. Repeatable. Default: the field's name.",
        example="text=review_body",
    )
    max_tokens: int = option(512, "Maximum tokens per text; longer texts are cut in the middle.")
    generate: bool = option(False, "The answer is free text, not a label.")

    def given(self) -> dict[str, Any]:
        """The options that were given, by their names in Python."""
        return {each.name: value for each in fields(self) if (value := getattr(self, each.name)) != each.default}


@dataclass(frozen=True)
class TaskOptions(TextTaskOptions):
    """The same for rows of any modality, and for several labels per row."""

    image: str | None = option(None, "Column with the image. Default: inferred.")
    audio: str | None = option(None, "Column with the audio. Default: inferred.")
    video: str | None = option(None, "Column with the video. Default: inferred.")
    task: str | None = option(
        None, "Kind of task: classification, multi-label, regression or generation. Default: inferred."
    )
    labels_from: list[str] | None = option(
        None, "Multi-label: columns of 0 and 1, one per label, e.g. toxic,insult,threat."
    )
    label_delimiter: str | None = option(None, "Multi-label: separator between labels in one cell, e.g. '|'.")


@dataclass(frozen=True)
class ReadOptions(Group):
    """How files of rows are read."""

    panel: ClassVar[str] = DATA

    no_splits: bool = option(False, "Treat folders named train, val, test, … as labels. Default: as splits.")
    media_root: Path | None = option(None, "Base folder of paths in a table. Default: the table's folder.")
    allow_download: bool = option(False, "Download files that a table names by an http(s) address.")
    encoding: str = option("utf-8", "Encoding of text files.")
    delimiter: str | None = option(None, "Character between the cells of a text table. Default: detected.")
    quoting: str = option(
        "standard", "Quotation marks in a text table: standard, or none if they are part of the text."
    )
    column_names: list[str] | None = option(
        None, "Column names of a table without a header row, e.g. text,label. Default: the header row."
    )
    skip_unreadable: bool = option(
        False,
        "Leave out rows that cannot be used: no label, no text, an unknown label, or an image, audio or video file "
        "that cannot be read.",
    )

    def source(self, data: str) -> "Source":
        """The rows that are named, with how their files are found and how a table is written."""
        from cuetune.data.formats.layout import Layout
        from cuetune.data.sources import Source

        root = self.media_root
        if root is not None and not root.is_dir():
            raise CuetuneError(f"--media-root {root}: no such folder; name the one that the table's paths start from.")
        delimiter = {"\\t": "\t", "tab": "\t"}.get(self.delimiter or "", self.delimiter)
        names = tuple(self.column_names or ())
        layout = Layout(delimiter, self.quoting, names)  # type: ignore[arg-type]  # checked there
        return Source(
            data, splits=not self.no_splits, media_root=root, allow_download=self.allow_download, layout=layout
        )

    def given(self) -> dict[str, Any]:
        """What Python takes beside the source."""
        return {"encoding": self.encoding, "skip_unreadable": self.skip_unreadable}

    def skipped(self) -> "Skipped | None":
        """What counts the rows that are left out; None where the first of them is an error."""
        from cuetune.data.skip_report import Skipped

        return Skipped() if self.skip_unreadable else None


@dataclass(frozen=True)
class SplitOptions(Group):
    """Which rows are trained on, validated on and tested."""

    panel: ClassVar[str] = DATA

    validation: str | None = option(None, "Validation data. Default: 10 % of DATA.")
    test: str | None = option(None, "Test data. Default: 20 % of DATA.")
    group_by: str | None = option(
        None,
        "Column whose groups are not divided by a split, e.g. a speaker or a patient. Default: rows are independent.",
    )
    hold_out: dict[str, list[str]] | None = option(
        None,
        "Test rows by value instead of at random, as column=value,…: style=cartoon,drawing. Repeatable.",
        example="style=cartoon,drawing",
    )

    def given(self) -> dict[str, Any]:
        """The options by their names in Python."""
        return {each.name: getattr(self, each.name) for each in fields(self)}


@dataclass(frozen=True)
class LoadOptions(Group):
    """How a model is loaded."""

    panel: ClassVar[str] = MODEL

    revision: str | None = option(None, "Revision of a hub model. Default: main, or that of the saved prompt.")
    dtype: str = option("auto", "Precision of the model: auto, float32, bfloat16 or float16.")
    device: str = option("auto", "Device: auto, cpu, cuda, cuda:1, …")
    trust_remote_code: bool = option(False, "Run Python code that a hub model contains.")

    def loading(self) -> dict[str, Any]:
        """What `load_backbone` takes besides the name; a revision that is not given is left to the prompt's own."""
        names = ("dtype", "device", "trust_remote_code") if self.revision is None else [each.name for each in LOADING]
        return {name: getattr(self, name) for name in names}


LOADING = fields(LoadOptions)


@dataclass(frozen=True)
class ModelName(Group):
    """Which frozen model."""

    panel: ClassVar[str] = MODEL

    model: str | None = option(
        None,
        "Frozen model: a bundled model (`cuetune models`), a local folder or a hub id. Default, by the data: {models}.",
    )


@dataclass(frozen=True)
class ModelOptions(LoadOptions, ModelName):
    """The frozen model and how it is loaded."""

    def given(self) -> dict[str, Any]:
        """The options by their names in Python."""
        return {"model": self.model, "model_options": self.loading()}


@dataclass(frozen=True)
class TextModelOptions(ModelOptions):
    """A frozen text model."""

    model: str = option("smollm2-135m", "Frozen text model: a bundled model (`cuetune models`), a folder or a hub id.")


@dataclass(frozen=True)
class SuiteModelOptions(ModelOptions):
    """The model of a suite of tasks."""

    model: str | None = option(
        None, "Frozen text model: bundled, local folder or hub id. Default: that of TASKS.yaml, or smollm2-135m."
    )


@dataclass(frozen=True)
class SavedModelOptions(ModelOptions):
    """The model of a saved prompt."""

    model: str | None = option(None, "Load the prompt's model from here. Default: the name saved with the prompt.")


def end_if_stopped(*tuned: "TunedPrompt") -> None:
    """End as a stopped command does (`signals.exit_code`) where a run was interrupted, once all is saved and said."""
    if any(each.record.get("stopped") == "interrupted" for each in tuned):
        raise KeyboardInterrupt
