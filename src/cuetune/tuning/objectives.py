"""Objectives: what a step minimises. Each turns one task's part of a batch into a scalar; a run's objectives add up."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from cuetune.errors import CuetuneError
from cuetune.prompts.base import Prompt


@dataclass(frozen=True)
class Batch:
    """One task's rows of a step and what the frozen pass of its backbone made of them.

    hidden: (K, d) at the places the readout asked for. task, numbers: which task of the run, and which of its rows.
    states: (N, d) final states of the rows' own tokens, or (K, d) as `hidden` where no objective reads them.
    query: (B, D) what the frozen model alone says of each row, where the prompt goes by it.
    """

    backbone: Any
    prompt: Prompt
    readout: Any
    rows: Sequence[Any]
    hidden: Tensor
    states: Tensor | None = None
    task: int = 0
    numbers: Sequence[int] = ()
    query: Tensor | None = None


class Objective(ABC):
    """A scalar to minimise, averaged over the rows of a batch.

    reads_text: it needs the states of every token. scores_labels: it needs the score of every label, not of the true
    one alone.
    """

    reads_text: ClassVar[bool] = False
    scores_labels: ClassVar[bool] = False

    @abstractmethod
    def __call__(self, batch: Batch) -> Tensor: ...

    def prepare(self, runs: Sequence[Any], visited: Sequence[Sequence[int]]) -> None:
        """Compute what the prompt cannot change, once. visited: the rows of each task that the run will see."""
        return


class CrossEntropy(Objective):
    """Mean over the rows of -log Pr(answer | row). Raises CuetuneError that names the rows where it is not finite."""

    def __call__(self, batch: Batch) -> Tensor:
        losses = batch.readout.row_losses(batch.backbone, batch.hidden, batch.rows)
        finite = losses.isfinite()
        if not finite.all():
            wrong = [row.where for row, fine in zip(batch.rows, finite.tolist(), strict=True) if not fine]
            raise CuetuneError(
                f"the loss is not finite at {', '.join(wrong[:3])} ({len(wrong)} of {len(batch.rows)} rows of "
                "this batch); look at those rows, or lower --learning-rate."
            )
        return losses.mean()


cross_entropy = CrossEntropy()
