"""What every readout for a fixed set of labels can do, and how logits over a whole vocabulary are made in pieces."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from cuetune.backbones.batches import TokenBatch
from cuetune.backbones.text import TextBackbone
from cuetune.data.task import Task
from cuetune.data.templating import InputRow

POSITIONS_AT_ONCE = 256  # full-vocabulary logits are made for this many positions at a time


class LabelReadout(ABC):
    """What every readout for labels can do: score every label from the states that are read of rows.

    remaps: it is not trained, but made anew after every pass over the data (`remap`).
    """

    remaps: ClassVar[bool] = False

    def __init__(self, task: Task) -> None:
        self.answers = task.answers
        self.labels = task.labels
        self.index = {label: number for number, label in enumerate(task.labels)}

    @abstractmethod
    def scores(self, backbone: TextBackbone, hidden: Tensor) -> Tensor:
        """Scores (B, C) from the states that `rows` asked for; see `Answers.values`."""

    def remap(self, states: Tensor, labels: Sequence[str | None]) -> None:
        """Be made anew from states (N, d) of rows with these labels, where `remaps`."""
        raise NotImplementedError

    def row_losses(self, backbone: TextBackbone, hidden: Tensor, rendered: Sequence[InputRow]) -> Tensor:
        """Loss of each row by the kind of its answers, (B,): of one label the cross-entropy over all."""
        return self.answers.losses(self.scores(backbone, hidden), [row.label for row in rendered])


class TextReadout(LabelReadout):
    """What every readout for labels of texts can do: lay rows out as the backbone reads them."""

    @property
    @abstractmethod
    def n_answer(self) -> int:
        """Positions that an answer takes behind every row: tokens that see each other, not branches side by side."""

    @property
    def n_behind(self) -> int:
        """Tokens that are put behind every row to score all labels, where those are more than a few."""
        return 0

    def for_training(self) -> Any:
        """What rows are laid out by, and losses come from, where only the true label has to be scored."""
        return self

    @abstractmethod
    def rows(self, rendered: Sequence[InputRow], shared: Sequence[int]) -> TokenBatch:
        """InputRow rows as they go through the backbone, and which of their states are wanted."""


def in_chunks(function: Any, *tensors: Tensor) -> Tensor:
    """Apply `function` to a few rows at a time and join the results; backward makes each chunk's logits again."""
    pieces = zip(*(tensor.split(POSITIONS_AT_ONCE) for tensor in tensors), strict=True)
    return torch.cat([checkpoint(function, *piece, use_reentrant=False) for piece in pieces])
