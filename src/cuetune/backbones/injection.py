"""Injection: what a prompt adds to the frozen forward pass. The one joint between prompts and backbones."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from cuetune.backbones.inputs import InputChange
from cuetune.errors import CuetuneError

KeyValue = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Injection:
    """What is added to the frozen pass, and where.

    tokens: layer -> virtual token states put before the sequence at that layer, (P, d) shared by the batch or
        (B, P, d). At layer 0 they are embeddings; at a higher layer they take the place of the previous layer's
        virtual tokens, or enter there if no lower layer has any. All layers have the same P.
    kv: layer -> (keys, values) added inside attention, each (h_kv, P, d_h) shared or (B, h_kv, P, d_h), keys as
        attention sees them (already rotated where the model rotates keys). A layer may have fewer than another: they
        stand right before the sequence, so a prompt that enters late is simply missing below.
    lengths: (B,) valid leading positions of per-row `kv`, for mixed batches of prompts of different lengths.
    offsets: (N, d) added to the embeddings of the first N tokens of every row's text, shared beginning included.
    inputs: a change of the raw input, before the model sees it: pixels.
    spelled: the ids of the last virtual tokens at layer 0, where these are text of the task.
    """

    tokens: Mapping[int, Tensor] = field(default_factory=dict)
    kv: Mapping[int, KeyValue] = field(default_factory=dict)
    lengths: Tensor | None = None
    offsets: Tensor | None = None
    inputs: InputChange | None = None
    spelled: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        sizes = {states.shape[-2] for states in self.tokens.values()}
        if len(sizes) > 1:
            raise CuetuneError(f"virtual tokens of different lengths {sorted(sizes)}; every layer needs the same.")
        for layer, (keys, values) in self.kv.items():
            if keys.shape != values.shape:
                raise CuetuneError(f"layer {layer}: keys {tuple(keys.shape)} but values {tuple(values.shape)}.")

    @property
    def n_tokens(self) -> int:
        """Virtual tokens that occupy positions of the sequence itself."""
        return next((states.shape[-2] for states in self.tokens.values()), 0)

    @property
    def n_kv(self) -> int:
        """Positions that stand before the sequence as keys and values."""
        return max((keys.shape[-2] for keys, _ in self.kv.values()), default=0)

    @property
    def even(self) -> bool:
        """True when every layer that has keys has equally many."""
        return len({keys.shape[-2] for keys, _ in self.kv.values()}) <= 1

    @property
    def per_row(self) -> bool:
        """True when every row of the batch has its own prompt."""
        parts = [*self.tokens.values(), *(keys[0] for keys, _ in self.kv.values())]
        return any(part.dim() == 3 for part in parts) or (self.inputs is not None and self.inputs.per_row)

    def detached(self, dtype: torch.dtype) -> "Injection":
        """The same numbers in another dtype, without a way back to what made them."""

        def kept(part: Tensor) -> Tensor:
            return part.detach().to(dtype)

        tokens = {layer: kept(states) for layer, states in self.tokens.items()}
        kv = {layer: (kept(keys), kept(values)) for layer, (keys, values) in self.kv.items()}
        offsets = None if self.offsets is None else kept(self.offsets)
        inputs = None if self.inputs is None else self.inputs.detached(dtype)
        return Injection(tokens, kv, self.lengths, offsets, inputs, self.spelled)

    def of_rows(self, numbers: Tensor) -> "Injection":
        """What belongs to these rows of the batch, in this order; what is shared stays shared."""
        tokens = {layer: states[numbers] if states.dim() == 3 else states for layer, states in self.tokens.items()}
        kv = {layer: (_rows(keys, numbers), _rows(values, numbers)) for layer, (keys, values) in self.kv.items()}
        lengths = None if self.lengths is None else self.lengths[numbers]
        inputs = None if self.inputs is None else self.inputs.of_rows(numbers)
        return Injection(tokens, kv, lengths, self.offsets, inputs, self.spelled)


def _rows(part: Tensor, numbers: Tensor) -> Tensor:
    return part[numbers] if part.dim() == 4 else part
