"""A trained head on what a backbone makes of a picture."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cuetune.backbones.media import POOLINGS
from cuetune.backbones.pictures import Pictures
from cuetune.backbones.seeing import SeeingBackbone
from cuetune.errors import CuetuneError
from cuetune.readouts.base import LabelReadout
from cuetune.readouts.head import Head
from cuetune.tasks.task import Task


class ImageHead(LabelReadout, nn.Module):
    """A trained classifier on one state of each picture, W h + b with W (C, d) (VPT, Jia et al. 2022, section 3.2).

    pooling: h is the "first" state or the "mean" over the patches; by default what the backbone was made for.
    layer: reads the states that enter this layer, None the final ones. W starts small and random, b at zero.
    """

    def __init__(
        self, backbone: SeeingBackbone, task: Task, pooling: str | None = None, layer: int | None = None, seed: int = 0
    ) -> None:
        nn.Module.__init__(self)
        LabelReadout.__init__(self, task)
        backbone.check_layer(layer)
        if pooling is not None and pooling not in POOLINGS:
            raise CuetuneError(f"--pooling {pooling}: of a picture the {' or the '.join(POOLINGS)} can be read.")
        self.pooling, self.layer, self.n_states = pooling or backbone.pooling, layer, backbone.n_states
        start = torch.randn(len(task.labels), backbone.state_width, generator=torch.Generator().manual_seed(seed))
        self.weight = nn.Parameter((0.02 * start).to(backbone.device))
        self.bias = nn.Parameter(torch.zeros(len(task.labels), device=backbone.device))

    @classmethod
    def of(cls, backbone: SeeingBackbone, task: Task, head: Head) -> "ImageHead":
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
        """Nothing stands behind a picture."""
        return 0

    def rows(self, pixels: Tensor, shared: Sequence[int] = ()) -> Pictures:  # type: ignore[override]
        """Pixels (B, 3, H, W) as they go through the backbone, and what is read of each. shared: never anything."""
        return Pictures(pixels, self.n_states, self.layer, self.pooling)

    def scores(self, backbone: SeeingBackbone, hidden: Tensor) -> Tensor:  # type: ignore[override]
        """Logits (B, C) from the states (B, d) that were read."""
        return F.linear(hidden.float(), self.weight, self.bias)
