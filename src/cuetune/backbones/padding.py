"""Injections into a padded batch: how the encoders of encoder-decoder models take them.

Their relative position biases are made for a whole batch of rows, so rows are padded here and not packed.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from cuetune.backbones.compat import text as compat
from cuetune.backbones.injection import Injection, KeyValue


@dataclass
class PaddedLayout:
    """One pass of `[prompt ; row ; padding]`, (B, T), through an encoder.

    real: (B, T) True where a token stands. capture, inputs: dicts that receive the first row's keys and values
    (T, h_kv, d_h) and input states (T, d) of every layer. layer: the one that runs now.
    """

    injection: Injection
    real: Tensor
    capture: dict[int, KeyValue] | None = None
    inputs: dict[int, Tensor] | None = None
    layer: int = 0

    def runs(self, layer: int) -> bool:
        """Every layer is run."""
        return True

    def enter(self, layer: int, hidden: Tensor) -> Tensor:
        """What goes into a layer, (B, T, d): virtual tokens that enter above the embeddings are put in here."""
        if layer and layer in self.injection.tokens:
            states = self.injection.tokens[layer].to(hidden).expand(len(hidden), -1, -1)
            hidden = torch.cat([states, hidden[:, states.shape[1] :]], dim=1)
        if self.inputs is not None:
            self.inputs[layer] = hidden[0]
        return hidden

    def visible(self, layer: int) -> Tensor:
        """(B, 1, T, K + T) who sees whom in this layer: everyone every token and all keys of the row's prefix."""
        batch, width = self.real.shape
        own = self.real[:, None, :].expand(-1, width, -1)
        if layer < min(self.injection.tokens, default=0):  # the prompt's slots are still empty
            slot = torch.arange(width, device=own.device) < self.injection.n_tokens
            own = (own & ~slot) | torch.eye(width, dtype=torch.bool, device=own.device)
        if layer in self.injection.kv:
            place = torch.arange(self.injection.kv[layer][0].shape[-2], device=own.device)
            lengths = self.injection.lengths
            limit = place.new_full((batch,), len(place)) if lengths is None else lengths.to(own.device)
            own = torch.cat([(place < limit[:, None])[:, None].expand(-1, width, -1), own], dim=-1)
        return own[:, None]

    def attend(
        self, module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, **how: Any
    ) -> tuple[Tensor, Tensor | None]:
        """The model's attention, with the prefix's keys and values before its own (B, h, T, d_h).

        A prefix stands nowhere in the text: where the model adds a bias by distance, its keys get none.
        """
        layer = self.layer
        if self.capture is not None:
            self.capture[layer] = (key[0].transpose(0, 1), value[0].transpose(0, 1))
        if layer in self.injection.kv:
            before = (part.to(key).expand(len(key), -1, -1, -1) for part in self.injection.kv[layer])
            key, value = (torch.cat([first, own], dim=2) for first, own in zip(before, (key, value), strict=True))
            if how.get("position_bias") is not None:
                how["position_bias"] = F.pad(how["position_bias"], (key.shape[2] - query.shape[2], 0))
        return compat.stock_attention(module, query, key, value, self.visible(layer), **how)
