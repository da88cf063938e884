"""A trained head on what a backbone makes of a sound."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cuetune.backbones.audio import AudioBackbone
from cuetune.backbones.media import POOLINGS
from cuetune.backbones.sounds import Sounds
from cuetune.errors import CuetuneError
from cuetune.readouts.base import LabelReadout
from cuetune.readouts.head import Head
from cuetune.tasks.task import Task


class SoundHead(LabelReadout, nn.Module):
    """A trained classifier on one state of each sound, W h + b with W (C, d).

    pooling: h is the mean over the sound's states, or over those that the model has before them ("first"); by default
    what the backbone was made for. layer: reads the states that enter this layer, None the final ones. W starts small
    and random, b at zero. at_least: of a sound nothing but itself is heard.
    """

    at_least = 0.0

    def __init__(
        self, backbone: AudioBackbone, task: Task, pooling: str | None = None, layer: int | None = None, seed: int = 0
    ) -> None:
        nn.Module.__init__(self)
        LabelReadout.__init__(self, task)
        backbone.check_layer(layer)
        if pooling is not None and pooling not in POOLINGS:
            raise CuetuneError(f"--pooling {pooling}: of a sound the {' or the '.join(POOLINGS)} can be read.")
        self.pooling, self.layer = pooling or backbone.pooling, layer
        start = torch.randn(len(task.labels), backbone.state_width, generator=torch.Generator().manual_seed(seed))
        self.weight = nn.Parameter((0.02 * start).to(backbone.device))
        self.bias = nn.Parameter(torch.zeros(len(task.labels), device=backbone.device))

    @classmethod
    def of(cls, backbone: AudioBackbone, task: Task, head: Head) -> "SoundHead":
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
        """Nothing stands behind a sound."""
        return 0

    def rows(self, sounds: Sounds, rows: Sequence[Any] = ()) -> Sounds:  # type: ignore[override]
        """Sounds as they go through the backbone, and what is read of each. rows: are not looked at."""
        return replace(sounds, layer=self.layer, pooling=self.pooling)

    def scores(self, backbone: AudioBackbone, hidden: Tensor) -> Tensor:  # type: ignore[override]
        """Logits (B, C) from the states (B, d) that were read."""
        return F.linear(hidden.float(), self.weight, self.bias)
