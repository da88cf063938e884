"""A trained head on one state of a row that is no text."""

from typing import Any, ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cuetune.backbones.media import POOLINGS
from cuetune.data.task import Task
from cuetune.errors import CuetuneError
from cuetune.readouts.base import LabelReadout
from cuetune.readouts.head import Head


class MediaHead(LabelReadout, nn.Module):
    """A trained classifier on one state of each row, W h + b with W (C, d).

    pooling: h is the "first" state or the "mean" over the row's own; by default what the backbone was made for.
    layer: reads the states that enter this layer, None the final ones. W starts small and random, b at zero.
    noun: what a row is called.
    """

    noun: ClassVar[str]

    def __init__(
        self, backbone: Any, task: Task, pooling: str | None = None, layer: int | None = None, seed: int = 0
    ) -> None:
        nn.Module.__init__(self)
        LabelReadout.__init__(self, task)
        backbone.check_layer(layer)
        if pooling is not None and pooling not in POOLINGS:
            raise CuetuneError(f"--pooling {pooling}: of a {self.noun} the {' or the '.join(POOLINGS)} can be read.")
        self.pooling, self.layer = pooling or backbone.pooling, layer
        start = torch.randn(task.answers.n_scores, backbone.state_width, generator=torch.Generator().manual_seed(seed))
        self.weight = nn.Parameter((0.02 * start).to(backbone.device))
        self.bias = nn.Parameter(torch.zeros(task.answers.n_scores, device=backbone.device))

    @classmethod
    def of(cls, backbone: Any, task: Task, head: Head) -> Self:
        """A kept head at work. Raises CuetuneError for one with other labels or for states of another width."""
        readout = cls(backbone, task, head.pooling, head.layer)
        head.check_shape(readout.weight, readout.bias)
        readout.load_state_dict({"weight": head.weight, "bias": head.bias})
        return readout

    def kept(self) -> Head:
        """The head without its backbone."""
        return Head(self.pooling, self.weight.detach().cpu(), self.bias.detach().cpu(), self.layer)

    @property
    def n_answer(self) -> int:
        """Nothing stands behind such a row."""
        return 0

    def scores(self, backbone: Any, hidden: Tensor) -> Tensor:
        """Logits (B, C) from the states (B, d) that were read."""
        return F.linear(hidden.float(), self.weight, self.bias)
