"""Injections into Whisper's decoder, whose layers are numbered on from those of its encoder."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from cuetune.backbones.compat import text as compat
from cuetune.backbones.padding import PaddedLayout


@dataclass
class DecoderLayout(PaddedLayout):
    """One pass of `[prompt | start tokens | transcript]`, (B, P + W, d), padded behind, which causality hides.

    real: (B, T) which of the encoder's states are the audio's own; the decoder attends to those alone.
    first: the number of the decoder's first layer. past: positions before these, whose keys a cache holds.
    """

    first: int = 0
    past: int = 0

    def enter(self, layer: int, hidden: Tensor) -> Tensor:
        """What goes into a layer, (B, P + W, d): above the first, new virtual tokens take the place of the last."""
        if layer > self.first and layer in self.injection.tokens and not self.past:
            states = self.injection.tokens[layer].to(hidden).expand(len(hidden), -1, -1)
            hidden = torch.cat([states, hidden[:, states.shape[1] :]], dim=1)
        if self.inputs is not None:
            self.inputs[layer] = hidden
        return hidden

    def attend(
        self, module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, **how: Any
    ) -> tuple[Tensor, Tensor | None]:
        """The model's attention: to the audio's own states, or to the prefix's keys and what stands before."""
        if not module.is_causal:
            return compat.stock_attention(module, query, key, value, self.real[:, None, None], **how)
        if self.capture is not None:
            self.capture[self.layer] = (key, value)
        visible = self._before(query.shape[2], key.shape[2])
        if self.layer in self.injection.kv:
            prefix = [part.to(key).expand(len(key), -1, -1, -1) for part in self.injection.kv[self.layer]]
            key, value = (torch.cat([first, own], dim=2) for first, own in zip(prefix, (key, value), strict=True))
            visible = torch.cat([self._prefix(prefix[0].shape[2], visible), visible.expand(len(key), -1, -1, -1)], -1)
        return compat.stock_attention(module, query, key, value, visible, **how)

    def _before(self, width: int, keys: int) -> Tensor:
        """(1, 1, W, K) which keys stand at or before each query."""
        places = torch.arange(keys, device=self.real.device)
        return (places <= self.past + places[:width, None])[None, None]

    def _prefix(self, size: int, visible: Tensor) -> Tensor:
        """(B, 1, W, S) which of a prefix's keys count, where rows have prefixes of different lengths."""
        seen = torch.ones(len(self.real), size, dtype=torch.bool, device=visible.device)
        if self.injection.lengths is not None:
            seen = torch.arange(size, device=visible.device) < self.injection.lengths.to(visible.device)[:, None]
        return seen[:, None, None].expand(-1, -1, visible.shape[2], -1)
