"""What all predictors share: each answer beside its example, and the members of an ensemble as one answer."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Generic

import torch

from cuetune.answers.prediction import Prediction
from cuetune.backbones.base import Backbone
from cuetune.backbones.batches import Batch
from cuetune.backbones.injection import Injection
from cuetune.data.row import Example
from cuetune.data.task import Task
from cuetune.prompts.base import Prompt


class BasePredictor(ABC):
    """Answers rows in order."""

    @abstractmethod
    def answered(self, examples: Iterable[Example], *, best_only: bool = False) -> Iterator[tuple[Example, Prediction]]:
        """Each example with its answer, in order; examples that are left out, because they cannot be read, have none.

        best_only: the label and its probability are enough, which costs less where a text's labels are many.
        Memory does not grow with their number. Raises CuetuneError for an example that cannot be read.
        """

    def predict(self, examples: Iterable[Example], *, best_only: bool = False) -> Iterator[Prediction]:
        """One prediction for each example, in order; see `answered`."""
        return (prediction for _, prediction in self.answered(examples, best_only=best_only))


class PromptPredictor(BasePredictor, Generic[Batch]):
    """One prompt with its readout, ready to answer."""

    def __init__(self, backbone: Backbone[Batch], task: Task, prompt: Prompt, readout: Any) -> None:
        self.backbone, self.task, self.prompt, self.readout = backbone, task, prompt, readout

    @torch.inference_mode()
    def values_of(self, parts: Sequence[tuple[Batch, Injection]]) -> list[Any]:
        """What `Answers.prediction` makes an answer of, for each row. parts: the rows as each member reads them."""
        states = self.backbone.hidden_mixed(parts)
        scores = [self.readout.scores(self.backbone, hidden) for hidden in states]
        members = torch.stack([self.task.answers.values(each) for each in scores])
        values: list[Any] = self.prompt.combine(members).tolist()
        return values


def commonest(texts: Sequence[str]) -> str:
    """The text that most members of an ensemble wrote; the first of them where several did."""
    return max(dict.fromkeys(texts), key=texts.count)
