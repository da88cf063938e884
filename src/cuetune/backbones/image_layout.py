"""Injections into a batch of images: virtual tokens stand between a model's own first states and the patches."""

from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from cuetune.backbones.compat import text as compat
from cuetune.backbones.padding import PaddedLayout


@dataclass
class ImageLayout(PaddedLayout):
    """One pass of `[first states | prompt | patches]`, (B, F + P + N, d). Images are of one size: nothing is padded.

    n_first: F, states of the model's own before the patches: [CLS], and in some families more. Virtual tokens come in
    at the lowest layer that has any, and the sequence grows there; those of higher layers replace them (VPT, Jia et
    al. 2022, eq. 4 and 5). Keys and values stand before all states of their layer.
    first: the layer that the pass enters at; those below are skipped, and `states` (B, F + N, d) are its input.
    last: the layer that the pass ends before; it and those above are skipped.
    grown: how many virtual tokens the states hold by now.
    """

    real: Tensor = field(default_factory=lambda: torch.empty(0))
    n_first: int = 1
    first: int = 0
    states: Tensor | None = None
    last: int | None = None
    grown: int = 0

    def runs(self, layer: int) -> bool:
        """Whether the pass goes through this layer."""
        return layer >= self.first and (self.last is None or layer < self.last)

    def enter(self, layer: int, hidden: Tensor) -> Tensor:
        """What goes into a layer, (B, F + P + N, d)."""
        if layer == self.first and self.states is not None:
            hidden = self.states
        if layer in self.injection.tokens and self.runs(layer):
            tokens = self.injection.tokens[layer].to(hidden).expand(len(hidden), -1, -1)
            before, after = hidden[:, : self.n_first], hidden[:, self.n_first + self.grown :]
            hidden = torch.cat([before, tokens, after], dim=1)
            self.grown = tokens.shape[1]
        if self.inputs is not None:
            self.inputs[layer] = hidden
        return hidden

    def attend(
        self, module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, **how: Any
    ) -> tuple[Tensor, Tensor | None]:
        """The model's attention, with the prefix's keys and values before its own (B, h, T, d_h)."""
        if self.capture is not None:
            self.capture[self.layer] = (key, value)
        if self.layer in self.injection.kv:
            before = (part.to(key).expand(len(key), -1, -1, -1) for part in self.injection.kv[self.layer])
            key, value = (torch.cat([first, own], dim=2) for first, own in zip(before, (key, value), strict=True))
        return compat.stock_attention(module, query, key, value, self._seen(key, query.shape[2]), **how)

    def _seen(self, key: Tensor, width: int) -> Tensor | None:
        """(B, 1, 1, K + T) which keys count, where rows have prefixes of different lengths."""
        if self.injection.lengths is None:
            return None
        place = torch.arange(key.shape[2] - width, device=key.device)
        seen = place < self.injection.lengths.to(key.device)[:, None]
        return F.pad(seen, (0, width), value=True)[:, None, None]
