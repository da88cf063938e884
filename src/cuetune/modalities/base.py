"""What a modality is: all that texts, pictures and recordings do not have in common, behind one class each."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from cuetune.errors import CuetuneError

if TYPE_CHECKING:
    from cuetune.backbones.base import Backbone
    from cuetune.backbones.generation import Writing
    from cuetune.comparison.contenders import Contender
    from cuetune.data.skip_report import Skipped
    from cuetune.data.task import Example, Row, Task
    from cuetune.evaluation.evaluate import Source
    from cuetune.prediction.base import BasePredictor
    from cuetune.prompts.base import Prompt
    from cuetune.prompts.start import Method
    from cuetune.readouts import Head
    from cuetune.support.spill_table import SpillTable
    from cuetune.tuning.data import Data
    from cuetune.tuning.runs import Run, TaskData
    from cuetune.tuning.settings import Settings

AT_ONCE = 64  # rows that are looked at together


class Modality(ABC):
    """One modality. Its methods import what they need when they are called, so that knowing all of them costs nothing.

    name: also the option that names its column, and `Task.modality`. plural: what its rows are called. kinds: of its
    backbones (`Backbone.kind`) and of bundled models. model, prompt: taken where the user names none. compared: the
    usual methods of `compare`. starts_from_words: whether prompts begin as `Settings.init` says.
    """

    name: ClassVar[str]
    plural: ClassVar[str]
    kinds: ClassVar[tuple[str, ...]]
    model: ClassVar[str]
    prompt: ClassVar[str]
    compared: ClassVar[tuple[str, ...]]
    starts_from_words: ClassVar[bool] = False

    # Models

    def named(self, model: str) -> bool:
        """Whether the name of a model alone says that it is of this modality."""
        return False

    @abstractmethod
    def load(self, name: str, **options: Any) -> "Backbone":
        """The backbone of this name; options: see `load_backbone`."""

    # Data

    def in_folder(self, folder: Path) -> bool:
        """Whether a folder without a table holds files of this modality."""
        return False

    @abstractmethod
    def holds(self, rows: Sequence["Row"]) -> bool:
        """Whether rows, of which the first is enough, are of this modality."""

    @abstractmethod
    def read(self, source: Any, *, encoding: str = "utf-8", labelled: bool = True) -> Iterator["Row"]:
        """Rows of a source in order. labelled: they are to have labels."""

    def parts(self, source: Any, *, encoding: str = "utf-8") -> dict[str, Iterator["Row"]]:
        """Split ("train", "validation", "test") -> its labelled rows, where a source is split; else empty."""
        from cuetune.data.provided_splits import own_splits

        return {split: self.read(part, encoding=encoding) for split, part in own_splits(source).items()}

    def placed(self, rows: Sequence["Row"], source: Any) -> Sequence["Row"]:
        """Rows of a table with the paths in it as they are opened."""
        return rows

    @abstractmethod
    def infer(self, rows: Sequence["Row"], **options: Any) -> "Task":
        """The task of labelled rows. Raises CuetuneError for what cannot be told, or an option it has no use for."""

    def faults(self, examples: Sequence["Example"], task: "Task") -> Sequence[CuetuneError | None]:
        """What is wrong with the content of each example; None where it can be read. Texts were read already."""
        return [None] * len(examples)

    def checked(
        self, examples: Sequence["Example"], task: "Task", preparation: Any, table: "SpillTable"
    ) -> Sequence["Example | CuetuneError"]:
        """Each example, or what is wrong with its content. preparation: how a model takes it, where that is known
        (`preparation_of`); then it is decoded into the table, and stands there for whoever reads the example.
        """
        return [fault or each for each, fault in zip(examples, self.faults(examples, task), strict=True)]

    def readable(
        self,
        examples: Iterable["Example"],
        task: "Task",
        skipped: "Skipped | None" = None,
        preparation: Any = None,
        folder: Path | None = None,
    ) -> list["Example"]:
        """The examples whose content can be read, the others counted; without `skipped` the first is an error.

        So a fault is known before a run begins, and not after it. preparation: as of `checked`. folder: of what is too
        large for memory.
        """
        from cuetune.support.spill_table import SpillTable

        table = SpillTable(folder, "It keeps the content of the rows.")
        source, kept = iter(examples), []
        while chunk := list(islice(source, AT_ONCE)):
            for each in self.checked(chunk, task, preparation, table):
                if not isinstance(each, CuetuneError):
                    kept.append(each)
                elif skipped is None:
                    raise each
                else:
                    skipped.add(str(each))
        return kept

    def notes(self, examples: Sequence["Example"], task: "Task") -> list[str]:
        """What is done to the content of readable examples so that a model takes it, for a person."""
        return []

    def outline(self, model: str) -> Any:
        """What a model's files say of its lengths, without its weights (`backbones.outline`); None for no texts."""
        return None

    def chat_options(self, model: Any, options: Mapping[str, Any]) -> dict[str, Any]:
        """What `infer` needs of a model beside these options, where a template asks for the model's own."""
        return {}

    def tokenizer(self, model: str) -> Any:
        """What cuts texts into tokens for this model; None for rows that are no texts."""
        return None

    def seen(self, model: str, task: "Task", example: "Example") -> list[str]:
        """How the model sees an example, as lines for a person; texts are shown as tokens."""
        return []

    def cut(self, count: int, task: "Task", limit: int = 0) -> str:
        """What was done to rows that did not fit (`Prediction.cut`), so many of them. limit: what they were cut to."""
        why = "--max-tokens" if limit in (0, task.max_tokens) else "the model's positions leave no more"
        return f"{count:,} texts were longer than {limit or task.max_tokens:,} tokens ({why}): their middle was cut."

    def cut_in(self, run: "Run") -> list[str]:
        """What was done to rows of a run that did not fit; nothing where all did."""
        count = sum(row.cut > 0 for row in run.rows)
        return [self.cut(count, run.task)] if count else []

    def unfinished(self, count: int, limit: int) -> str:
        """What to tell of written answers (`Prediction.unfinished`) that did not end, so many of them."""
        return f"{count:,} answers did not end within {limit:,} tokens and are cut there."

    # Prompts and runs

    @abstractmethod
    def methods(self) -> Mapping[str, "Method"]:
        """The prompts that are tuned, by the name that `tune` and `compare` know."""

    def methods_of(self, backbone: Any) -> Mapping[str, "Method"]:
        """Those of `methods` that this backbone takes."""
        return self.methods()

    def usual(self, backbone: Any) -> str:
        """The prompt of this backbone where the user names none."""
        taken = self.methods_of(backbone)
        return self.prompt if self.prompt in taken else next(iter(taken))

    @abstractmethod
    def begin(
        self,
        backbone: Any,
        data: "Data",
        method: str,
        shots: int,
        settings: "Settings",
        start: str | Path | None = None,
    ) -> "Prompt":
        """The prompt that a run starts from, or the finished one where nothing is tuned."""

    def refuse_unknown(self, backbone: Any, task: "Task", examples: Sequence["Example"]) -> None:
        """Raise CuetuneError for the first example that this backbone cannot read, before a run begins."""
        return

    def readout_note(self, backbone: Any, task: "Task", readout: str) -> str | None:
        """What to say of how answers are read, where a run decides it (`Settings.readout` "auto")."""
        return None

    def measured(self, backbone: Any, task: "Task", examples: Sequence["Example"]) -> "Task":
        """The task with what is to be known of all its labelled examples under this backbone."""
        return task

    @abstractmethod
    def run(
        self, backbone: Any, prompt: "Prompt", data: "TaskData", settings: "Settings", rows: int, folder: Path | None
    ) -> "Run":
        """One task's part in the loop. rows: how many are validated on. folder: for what is too large for memory."""

    def augmentation(self, kind: str, seed: int) -> Any:
        """What changes rows at random in every step (`Settings.augment`), None where nothing does.

        Raises CuetuneError for a kind that is not known, or rows that nothing is known to do to.
        """
        if kind != "none":
            raise CuetuneError(f"--augment is for pictures and clips, and these rows hold {self.plural}; leave it.")

    # Answers

    @abstractmethod
    def predictor(
        self,
        backbone: Any,
        task: "Task",
        prompt: "Prompt",
        head: "Head | None" = None,
        *,
        writing: "Writing | None" = None,
        skipped: "Skipped | None" = None,
    ) -> "BasePredictor":
        """A prompt and its head, ready to answer. skipped: counts rows that cannot be read and leaves them out."""

    @abstractmethod
    def baselines(
        self,
        backbone: Any,
        task: "Task",
        shown: Sequence["Example"],
        *,
        head: "Head | None" = None,
        shots: int = 8,
        seed: int = 0,
        writing: "Writing | None" = None,
    ) -> dict[str, "Source"]:
        """What a tuned prompt is held against, by name. shown: labelled rows that may be learned from."""

    @abstractmethod
    def features(self, backbone: Any, task: "Task", layer: int | None = None) -> Any:
        """What a linear probe learns from: an object whose `of(examples)` gives arrays (N, d) by name.

        layer: the one that heads of tuned prompts read, where one is chosen. Raises CuetuneError for a backbone that
        has none.
        """

    @abstractmethod
    def contenders(self) -> Mapping[str, "Contender"]:
        """The methods that `compare` can compare, by name."""

    def contenders_of(self, backbone: Any) -> Mapping[str, "Contender"]:
        """Those of `contenders` that this backbone takes."""
        methods, taken = self.methods(), self.methods_of(backbone)
        return {name: each for name, each in self.contenders().items() if name not in methods or name in taken}
