"""A trained head: a linear classifier on one state of each row, learned together with the prompt."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cuetune.backbones.packing import Rows
from cuetune.backbones.text import TextBackbone
from cuetune.backbones.tokens import surroundings
from cuetune.data.task import Task
from cuetune.data.templating import Rendered
from cuetune.errors import CuetuneError
from cuetune.readouts.base import LabelReadout

POOLINGS = ("first", "last", "mean")


@dataclass(frozen=True)
class Head:
    """A trained head as it is kept: the states that it pools, its weight (C, d) and its bias (C,).

    layer: it reads the states that enter this layer; None reads the final ones.
    classes: those of the model's own classes whose rows it holds, one for each label; empty for a trained head.
    """

    pooling: str
    weight: Tensor
    bias: Tensor
    layer: int | None = None
    classes: tuple[str, ...] = ()

    @property
    def n_kept(self) -> int:
        """How many numbers it has."""
        return self.weight.numel() + self.bias.numel()

    @property
    def n_trained(self) -> int:
        """How many of them were learned."""
        return 0 if self.classes else self.n_kept

    def check_shape(self, weight: Tensor, bias: Tensor) -> None:
        """Raise CuetuneError unless it has the sizes of these: a row for each label, of the width of a state."""
        if self.weight.shape != weight.shape or self.bias.shape != bias.shape:
            raise CuetuneError(
                f"a head of {tuple(self.weight.shape)} numbers, but {len(weight)} labels and states of "
                f"{weight.shape[1]} numbers need {tuple(weight.shape)}; load it as it was saved."
            )


class LinearHead(LabelReadout, nn.Module):
    """A trained classifier on one state of each row, W h + b with W (C, d) (P-tuning v2, Liu et al. 2022, section 3.3).

    pooling: h is the row's "first" state ([CLS]), its "last" one, or the "mean" over the row; by default what the
    backbone was made for (`TextBackbone.pooling`). States of the prompt are never read.
    W starts small and random, b at zero, both float32. Trained: `parameters()`; kept: `kept()`.
    """

    def __init__(self, backbone: TextBackbone, task: Task, pooling: str | None = None, seed: int = 0) -> None:
        nn.Module.__init__(self)
        LabelReadout.__init__(self, task)
        self.pooling = pooling or backbone.pooling
        if self.pooling not in POOLINGS:
            raise CuetuneError(f"unknown pooling {self.pooling!r}; choose one of {', '.join(POOLINGS)}.")
        if backbone.writes and self.pooling == "first":
            raise CuetuneError("the first state of a causal model has read nothing; pool the last one or the mean.")
        self._apart = backbone.writes  # what rows share is not part of them
        self._behind = [] if backbone.writes else surroundings(backbone.tokenizer)[1]
        start = torch.randn(task.answers.n_scores, backbone.state_width, generator=torch.Generator().manual_seed(seed))
        self.weight = nn.Parameter((0.02 * start).to(backbone.device))
        self.bias = nn.Parameter(torch.zeros(task.answers.n_scores, device=backbone.device))

    @classmethod
    def of(cls, backbone: TextBackbone, task: Task, head: Head) -> "LinearHead":
        """A kept head at work. Raises CuetuneError for one with other labels or for states of another width."""
        readout = cls(backbone, task, head.pooling)
        head.check_shape(readout.weight, readout.bias)
        readout.load_state_dict({"weight": head.weight, "bias": head.bias})
        return readout

    def kept(self) -> Head:
        """The head without its backbone."""
        return Head(self.pooling, self.weight.detach().cpu(), self.bias.detach().cpu())

    @property
    def n_answer(self) -> int:
        return len(self._behind)

    def rows(self, rendered: Sequence[Rendered], shared: Sequence[int]) -> Rows:
        """Pack rows, in an encoder as whole texts, beginning and end tokens included."""
        start, apart = ((), shared) if self._apart else (shared, ())
        whole = Rows.of([[*start, *row.ids, *self._behind] for row in rendered], apart)
        lengths = torch.tensor(whole.lengths)
        ends = lengths.cumsum(0)
        if self.pooling == "mean":
            return replace(whole, pool=torch.repeat_interleave(torch.arange(len(lengths)), lengths))
        return replace(whole, read=ends - 1 if self.pooling == "last" else ends - lengths)

    def scores(self, backbone: TextBackbone, hidden: Tensor) -> Tensor:
        """Logits (B, C) from the pooled states (B, d)."""
        return F.linear(hidden.float(), self.weight, self.bias)
