"""A change of the raw audio: what a prompt in the waveform adds before the frozen model hears it."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from cuetune.backbones.inputs import InputChange


@dataclass(frozen=True)
class WaveChange(InputChange):
    """Samples added to the beginning of every audio file (V2S, Yang et al., ICML 2021, eq. 1).

    added: (S,) shared by the batch or (B, S). An audio file shorter than S gets silence behind it first, so that all S
    samples are heard; of a longer one what lies behind stays as it is.
    """

    @property
    def per_row(self) -> bool:
        return self.added.dim() == 2

    def of_waves(self, waves: Sequence[Tensor]) -> list[Tensor]:
        """The changed waves, (n,) -> (max(n, S),) each."""
        rows = self.added if self.per_row else self.added.expand(len(waves), -1)
        return [self._added(wave, samples.to(wave)) for wave, samples in zip(waves, rows, strict=True)]

    def _added(self, wave: Tensor, samples: Tensor) -> Tensor:
        beyond = len(wave) - len(samples)
        return F.pad(wave, (0, max(0, -beyond))) + F.pad(samples, (0, max(0, beyond)))
