"""The one attention function: rows attend to what they share and to themselves, and no matrix product sees padding.

A pass is one packed sequence made of groups, `[shared | row 1 | row 2 | …]` each. Shared positions attend causally to
each other; a row attends to its group's shared part and, causally, to itself. Only inside attention are the rows laid
out as (B, T) with padding; everything else in the model sees the packed sequence.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from cuetune import compat
from cuetune.backbones.injection import KeyValue

# From this many scores per head on, fused attention wins over plain products because it never stores the scores.
FUSED_FROM = 512 * 512


@dataclass
class Group:
    """Rows that see the same shared part. `Layout` places groups one after another in the packed sequence.

    start, n_shared: where the shared part stands, S positions long (0 for rows that each carry their own prompt).
    rows: (B, T) index into the packed sequence for every place of the padded layout; padding points at `start`.
    places: (N,) the places of that layout, flattened, that hold a real token, in packed order.
    own: (B, T, T) True where a row's query may see a row's key.
    shared_positions, row_positions: (S,) and (B, T) positions, for models with a sliding window.
    kv: layer -> keys and values before the sequence, (h_kv, K, d_h) shared or (B, h_kv, K, d_h) per row.
    kv_lengths: (B,) valid leading positions of per-row `kv`, or None when all are.
    tokens: layer -> virtual token states (P, d) or (B, P, d); slots: (P,) or (B, P) where they stand when packed.
    """

    start: int
    n_shared: int
    rows: Tensor
    places: Tensor
    own: Tensor
    shared_positions: Tensor
    row_positions: Tensor
    kv: dict[int, KeyValue] = field(default_factory=dict)
    kv_lengths: Tensor | None = None
    tokens: Mapping[int, Tensor] = field(default_factory=dict)
    slots: Tensor | None = None
    _masks: dict[Any, tuple[Tensor, Tensor]] = field(default_factory=dict)

    @property
    def stop(self) -> int:
        return self.start + self.n_shared + self.places.numel()

    @property
    def n_kv(self) -> int:
        return next((keys.shape[-2] for keys, _ in self.kv.values()), 0)

    def masks(self, layer: int, window: int | None) -> tuple[Tensor, Tensor]:
        """Who sees whom: (S, K + S) for shared queries, (B, T, K + S + T) for row queries. True means visible."""
        key = (layer < min(self.tokens, default=0), window)
        if key not in self._masks:
            self._masks[key] = self._build_masks(asleep=key[0], window=window)
        return self._masks[key]

    def _build_masks(self, asleep: bool, window: int | None) -> tuple[Tensor, Tensor]:
        device, (batch, width) = self.rows.device, self.rows.shape
        kv_positions = torch.arange(self.n_kv, device=device)
        before = torch.cat([kv_positions, self.shared_positions])
        shared = self.shared_positions[:, None] >= before
        memory = torch.ones(batch, before.numel(), dtype=torch.bool, device=device)
        if self.kv_lengths is not None:
            memory[:, : self.n_kv] = kv_positions < self.kv_lengths[:, None]
        own = self.own
        if asleep:
            shared, memory, own = self._hide_slots(shared, memory, own)
        rows = torch.cat([memory[:, None].expand(batch, width, -1), own], dim=-1)
        if window is not None:
            keys = torch.cat([before.expand(batch, -1), self.row_positions], dim=1)
            rows = rows & (self.row_positions[:, :, None] - keys[:, None] < window)
            shared = shared & (self.shared_positions[:, None] - before < window)
        return shared, rows

    def _hide_slots(self, shared: Tensor, memory: Tensor, own: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Below the layer where a prompt enters, its slots are empty: nobody sees them but themselves."""
        assert self.slots is not None
        if self.n_shared:
            hidden = self.slots - self.start + self.n_kv
            shared, memory = shared.clone(), memory.clone()
            shared[:, hidden] = torch.eye(self.n_shared, dtype=torch.bool, device=own.device)[:, hidden - self.n_kv]
            memory[:, hidden] = False
        else:
            is_slot = torch.isin(self.rows, self.slots) & own.diagonal(dim1=1, dim2=2)
            own = own & (~is_slot[:, None] | torch.eye(own.shape[1], dtype=torch.bool, device=own.device))
        return shared, memory, own


    def enter(self, layer: int, hidden: Tensor) -> Tensor:
        """Put the virtual tokens of `layer` into their slots of the packed states (1, N, d)."""
        if layer not in self.tokens:
            return hidden
        assert self.slots is not None
        states = self.tokens[layer].to(hidden).expand(*self.slots.shape, -1)
        return hidden.index_copy(1, self.slots.flatten(), states.reshape(1, -1, hidden.shape[-1]))


@dataclass
class Layout:
    """How one packed pass is laid out, and, when `capture` is a dict, where its shared keys and values are kept."""

    groups: list[Group]
    capture: dict[int, KeyValue] | None = None


class ToRows(torch.autograd.Function):
    """Packed (N, …) to padded (B·T, …) and back in the gradient: both ways are plain row copies."""

    @staticmethod
    def forward(ctx: Any, packed: Tensor, index: Tensor, places: Tensor) -> Tensor:
        ctx.save_for_backward(index, places)
        ctx.n_packed = packed.shape[0]
        return packed.index_select(0, index)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        index, places = ctx.saved_tensors
        # Padding is never seen, so its gradient is zero and each packed row receives exactly one contribution.
        gradient = grads[0].new_zeros((ctx.n_packed, *grads[0].shape[1:]))
        return gradient.index_copy_(0, index[places], grads[0].index_select(0, places)), None, None


class FromRows(torch.autograd.Function):
    """Padded (B·T, …) to the real tokens (N, …); the gradient of padding is zero."""

    @staticmethod
    def forward(ctx: Any, padded: Tensor, places: Tensor) -> Tensor:
        ctx.save_for_backward(places)
        ctx.n_padded = padded.shape[0]
        return padded.index_select(0, places)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (places,) = ctx.saved_tensors
        gradient = grads[0].new_zeros((ctx.n_padded, *grads[0].shape[1:]))
        return gradient.index_copy_(0, places, grads[0]), None


def attend(query: Tensor, key: Tensor, value: Tensor, visible: Tensor, scaling: float, softcap: float | None) -> Tensor:
    """Attention of (B, h, T, d_h) queries over (B, h_kv, K, d_h) keys, `visible` (B or 1, T, K); returns (B, h, T, d_h).

    Grouped heads share their keys without a copy. Long rows take torch's fused kernel; short ones plain products,
    whose backward pass is faster at these sizes.
    """
    batch, heads, width, size = query.shape
    if softcap is None and (query.is_cuda or width * key.shape[2] >= FUSED_FROM):
        return F.scaled_dot_product_attention(
            query, key, value, attn_mask=visible[:, None], scale=scaling, enable_gqa=heads != key.shape[1]
        )
    grouped = query.reshape(batch, key.shape[1], -1, size)  # (B, h_kv, g·T, d_h)
    scores = (grouped * scaling) @ key.transpose(2, 3)
    if softcap is not None:
        scores = torch.tanh(scores / softcap) * softcap
    hidden = torch.zeros(visible.shape, dtype=scores.dtype, device=scores.device).masked_fill_(~visible, float("-inf"))
    scores = scores.view(batch, key.shape[1], -1, width, key.shape[2]) + hidden[:, None, None]
    weights = scores.softmax(dim=-1).view(batch, key.shape[1], -1, key.shape[2])
    return (weights @ value).view(batch, heads, width, size)


def attend_group(query: Tensor, key: Tensor, value: Tensor, group: Group, layer: int, options: dict[str, Any]) -> Tensor:
    """Attention of one group. query (N, h, d_h), key and value (N, h_kv, d_h) of the whole pass; returns (n, h, d_h)."""
    see_shared, see_rows = group.masks(layer, options["window"])
    how = (options["scaling"], options["softcap"])
    shared = slice(group.start, group.start + group.n_shared)
    memory = [part[shared].transpose(0, 1) for part in (key, value)]  # (h_kv, S, d_h)
    outputs = []
    if group.kv:
        memory = _behind(group.kv[layer], memory)
    if group.n_shared:
        heads = query[shared].transpose(0, 1)[None]
        out = attend(heads, memory[0][None], memory[1][None], see_shared[None], *how)
        outputs.append(out[0].transpose(0, 1))
    if group.places.numel():
        outputs.append(_attend_rows(query, key, value, memory, group, see_rows, how))
    return torch.cat(outputs) if len(outputs) > 1 else outputs[0]


def _behind(kv: KeyValue, memory: list[Tensor]) -> list[Tensor]:
    """The group's own shared keys and values behind the injected ones."""
    injected = [part.to(own.dtype) for part, own in zip(kv, memory, strict=True)]
    if not memory[0].shape[1]:
        return injected
    return [torch.cat([first, own], dim=-2) for first, own in zip(injected, memory, strict=True)]


def _attend_rows(query: Tensor, key: Tensor, value: Tensor, memory: list[Tensor], group: Group, visible: Tensor,
                 how: tuple[float, float | None]) -> Tensor:
    batch, width = group.rows.shape
    index = group.rows.reshape(-1)

    def padded(states: Tensor) -> Tensor:  # (N, h, d_h) -> (B, h, T, d_h)
        flat = ToRows.apply(states.flatten(1), index, group.places)
        return flat.view(batch, width, *states.shape[1:]).transpose(1, 2)

    keys, values = (
        torch.cat([before.expand(batch, -1, -1, -1), padded(own)], dim=2)
        for before, own in zip(memory, (key, value), strict=True)
    )
    out = attend(padded(query), keys, values, visible, *how)
    return FromRows.apply(out.transpose(1, 2).reshape(batch * width, -1), group.places).view(-1, *query.shape[1:])


def packed_attention(module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None,
                     scaling: float | None = None, dropout: float = 0.0, cuetune_layout: Layout | None = None,
                     **kwargs: Any) -> tuple[Tensor, Tensor | None]:
    """What transformers calls in every layer: query (1, h, N, d_h), key and value (1, h_kv, N, d_h).

    Without a layout this is the model's stock attention, so wrapping a model changes none of its own outputs.
    Returns (1, N, h, d_h).
    """
    if cuetune_layout is None:
        return compat.stock_attention(module, query, key, value, attention_mask, scaling=scaling, dropout=dropout, **kwargs)
    layer = module._cuetune_layer
    assert isinstance(layer, int)
    options = {"scaling": scaling if scaling is not None else query.shape[-1] ** -0.5,
               "softcap": kwargs.get("softcap"), "window": kwargs.get("sliding_window")}
    q, k, v = (states[0].transpose(0, 1) for states in (query, key, value))
    if cuetune_layout.capture is not None:
        group = cuetune_layout.groups[0]
        shared = [part[: group.n_shared].transpose(0, 1) for part in (k, v)]
        keys, values = _behind(group.kv[layer], shared) if group.kv else shared
        cuetune_layout.capture[layer] = (keys.detach().contiguous(), values.detach().contiguous())
    return torch.cat([attend_group(q, k, v, group, layer, options) for group in cuetune_layout.groups])[None], None


compat.register_attention(packed_attention)
