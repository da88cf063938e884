"""One task in a run: its rows as the backbone reads them, how answers are read, and how the prompt does on it."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic

import torch
from torch import Tensor

from cuetune.backbones.base import Backbone
from cuetune.backbones.batches import Batch
from cuetune.cost.flops import count
from cuetune.data.readers.registry import reader_of
from cuetune.data.row import Example
from cuetune.data.task import Task
from cuetune.data.templating import InputRow
from cuetune.errors import CuetuneError
from cuetune.prompts.base import Prompt
from cuetune.readouts import LinearHead
from cuetune.tuning.runs.cache import AudioCache, StateCache
from cuetune.tuning.settings import Settings


@dataclass(frozen=True)
class TaskData:
    """A task and its labelled examples: to learn from, and to choose the best step on."""

    task: Task
    train: Sequence[Example]
    validation: Sequence[Example] = ()

    @property
    def all_rows(self) -> Sequence[Example]:
        """Both, for what chooses no step."""
        return [*self.train, *self.validation] if self.validation else self.train


class Run(ABC, Generic[Batch]):
    """One task's part in the loop, whatever its rows are; one subclass for each way in which a backbone reads rows.

    readout: how answers are read. training_readout: what a step reads losses by: `readout`, or what costs less where
    only the true label has to be scored. rows: what is tuned on. states: of `freeze`.
    """

    few: int  # rows whose operations are counted for all
    rows: list[InputRow]

    def __init__(
        self, backbone: Backbone[Batch], data: TaskData, settings: Settings, validation_rows: int, readout: Any
    ) -> None:
        if not data.train:
            raise CuetuneError(f"{data.task.name}: no rows to tune on.")
        self.backbone, self.task, self.settings = backbone, data.task, settings
        self.readout = self.training_readout = readout
        self.validation = list(data.validation)[:validation_rows]
        self.states: StateCache | AudioCache | None = None

    @property
    def head(self) -> LinearHead | None:
        """The classifier that is trained with the prompt; None where words are scored or text is written."""
        return self.readout if isinstance(self.readout, LinearHead) else None

    def cut_notes(self) -> list[str]:
        """What was done to rows that did not fit; nothing where all did."""
        count = sum(row.cut > 0 for row in self.rows)
        return [reader_of(self.task).cut(count, self.task)] if count else []

    def rows_of(self, numbers: Sequence[int]) -> list[InputRow]:
        """These of the rows."""
        return [self.rows[number] for number in numbers]

    @abstractmethod
    def pack(self, numbers: Sequence[int]) -> Batch:
        """These rows as one batch of the backbone; without what `states` has of them, where that is much."""

    def whole(self, numbers: Sequence[int]) -> Batch:
        """As `pack`, with all that a pass from the first layer on needs."""
        return self.pack(numbers)

    @torch.no_grad()
    def states_of(self, prompt: Prompt, numbers: Sequence[int]) -> Tensor:
        """(B, d) what the readout reads of these rows under the prompt."""
        batch = self.whole(numbers)
        return self.backbone.hidden_mixed([(batch, prompt.for_rows(self.backbone, batch))])[0]

    @abstractmethod
    def freeze(self, layer: int, folder: Path | None) -> None:
        """Compute the states below `layer`, which the prompt cannot change, once: what is left of a step is above."""

    @abstractmethod
    def below(self, layer: int, numbers: Sequence[int]) -> Tensor:
        """States of these rows as they enter `layer`, without a prompt."""

    def size(self, numbers: Sequence[int]) -> int:
        """What the operations of these rows are in proportion to."""
        return len(numbers)

    def frozen_flops(self) -> float:
        """Operations that `freeze` took, counted on a few rows."""
        if self.states is None:
            return 0.0
        layer, everything = self.states.layer, range(len(self.rows))
        few = everything[: self.few]
        return count(lambda: self.below(layer, few)) * self.size(everything) / self.size(few)

    @abstractmethod
    def scores(self, prompt: Prompt) -> dict[str, float]:
        """Loss on the validation rows and, unless text is written, a score to follow: of one label the accuracy."""

    def measured(self, predictions: Sequence[Any]) -> dict[str, float]:
        """Loss and score (`Answers.validation`) of predictions for the validation rows."""
        return self.task.answers.validation(predictions, [example.label for example in self.validation])


def in_batches(count: int, size: int) -> Iterator[range]:
    """The numbers from 0 on, so many at a time."""
    return (range(first, min(count, first + size)) for first in range(0, count, size))
