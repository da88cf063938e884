"""Objectives: what a step minimises. Each turns one batch into a scalar; a run's objectives add up."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from cuetune.backbones.text import TextBackbone
from cuetune.errors import CuetuneError
from cuetune.prompts.base import Prompt
from cuetune.readouts import Readout
from cuetune.tasks.rendering import Rendered


@dataclass(frozen=True)
class Batch:
    """One batch and what the frozen pass made of it: hidden states (K, d) at the places the readout asked for."""

    backbone: TextBackbone
    prompt: Prompt
    readout: Readout
    rows: Sequence[Rendered]
    hidden: Tensor


Objective = Callable[[Batch], Tensor]


def cross_entropy(batch: Batch) -> Tensor:
    """Mean over the rows of -log Pr(answer | row). Raises CuetuneError that names the rows where it is not finite."""
    losses = batch.readout.row_losses(batch.backbone, batch.hidden, batch.rows)
    finite = losses.isfinite()
    if not finite.all():
        wrong = [row.where for row, fine in zip(batch.rows, finite.tolist(), strict=True) if not fine]
        raise CuetuneError(
            f"the loss is not finite at {', '.join(wrong[:3])} ({len(wrong)} of {len(batch.rows)} rows of "
            "this batch); look at those rows, or lower --learning-rate."
        )
    return losses.mean()
