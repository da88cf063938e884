"""What a reader of rows can do, whatever they hold."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

from cuetune.data.provided_splits import own_splits
from cuetune.data.row import Example, Row
from cuetune.data.skip_report import Skipped
from cuetune.data.task import Task
from cuetune.errors import CuetuneError
from cuetune.modality import Modality
from cuetune.support.spill_table import SpillTable

AT_ONCE = 64  # rows that are looked at together


class Reader(ABC):
    """Reads the rows of one modality."""

    modality: ClassVar[Modality]

    def in_folder(self, folder: Path) -> bool:
        """Whether a folder without a table holds files of this modality."""
        return False

    @abstractmethod
    def holds(self, rows: Sequence[Row]) -> bool:
        """Whether rows, of which the first is enough, are of this modality."""

    @abstractmethod
    def read(self, source: Any, *, encoding: str = "utf-8", labelled: bool = True) -> Iterator[Row]:
        """Rows of a source in order. labelled: they are to have labels."""

    def parts(self, source: Any, *, encoding: str = "utf-8") -> dict[str, Iterator[Row]]:
        """Split ("train", "validation", "test") -> its labelled rows, where a source is split; else empty."""
        return {split: self.read(part, encoding=encoding) for split, part in own_splits(source).items()}

    def placed(self, rows: Sequence[Row], source: Any) -> Sequence[Row]:
        """Rows of a table with the paths in it as they are opened."""
        return rows

    @abstractmethod
    def infer(self, rows: Sequence[Row], **options: Any) -> Task:
        """The task of labelled rows. Raises CuetuneError for what cannot be told, or an option it has no use for."""

    def faults(self, examples: Sequence[Example], task: Task) -> Sequence[CuetuneError | None]:
        """What is wrong with the content of each example; None where it can be read. Texts were read already."""
        return [None] * len(examples)

    def checked(
        self, examples: Sequence[Example], task: Task, preparation: Any, table: SpillTable
    ) -> Sequence[Example | CuetuneError]:
        """Each example, or what is wrong with its content. preparation: how a model takes it, where that is known
        (`preparation_of`); then it is decoded into the table, and stands there for whoever reads the example.
        """
        return [fault or each for each, fault in zip(examples, self.faults(examples, task), strict=True)]

    def readable(
        self,
        examples: Iterable[Example],
        task: Task,
        skipped: Skipped | None = None,
        preparation: Any = None,
        folder: Path | None = None,
    ) -> list[Example]:
        """The examples whose content can be read, the others counted; without `skipped` the first is an error.

        So a fault is known before a run begins, and not after it. preparation: as of `checked`. folder: of what is too
        large for memory.
        """
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

    def notes(self, examples: Sequence[Example], task: Task) -> list[str]:
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

    def seen(self, model: str, task: Task, example: Example) -> list[str]:
        """How the model sees an example, as lines for a person; texts are shown as tokens."""
        return []

    def cut(self, count: int, task: Task, limit: int = 0) -> str:
        """What was done to rows that did not fit (`Prediction.cut`), so many of them. limit: what they were cut to."""
        why = "--max-tokens" if limit in (0, task.max_tokens) else "the model's positions leave no more"
        return f"{count:,} texts were longer than {limit or task.max_tokens:,} tokens ({why}): their middle was cut."

    def unfinished(self, count: int, limit: int) -> str:
        """What to tell of written answers (`Prediction.unfinished`) that did not end, so many of them."""
        return f"{count:,} answers did not end within {limit:,} tokens and are cut there."
