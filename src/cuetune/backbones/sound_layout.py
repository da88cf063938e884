"""Injections into a batch of audio files, which are of different lengths and padded behind."""

from dataclasses import dataclass

import torch
from torch import Tensor

from cuetune.backbones.image_layout import ImageLayout


@dataclass
class SoundLayout(ImageLayout):
    """One pass of `[first states | prompt | the audio | padding]`, (B, F + P + T, d).

    lengths: (B,) states of each audio file's own, first states included, or None where nothing is padded. Nobody sees
    the padding, so an audio file's states do not depend on the company it is heard in.
    """

    lengths: Tensor | None = None

    def _seen(self, key: Tensor, width: int) -> Tensor | None:
        """(B, 1, 1, K + P + T) which keys count: those of the row's prefix, its virtual tokens and its own states."""
        prefix = super()._seen(key, width)
        if self.lengths is None:
            return prefix
        own = torch.arange(width, device=key.device) < (self.lengths.to(key.device) + self.grown)[:, None]
        before = own.new_ones(len(own), key.shape[2] - width) if prefix is None else prefix[:, 0, 0, :-width]
        return torch.cat([before, own], dim=1)[:, None, None]
