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
    rows: (B, T) which of the group's n row tokens stands in each place of the padded layout; padding points at 0.
    places: (n,) the places of that layout, flattened, that hold a real token, in packed order.
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
    _biases: dict[Any, Tensor] = field(default_factory=dict)

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

    def bias(self, layer: int, window: int | None, dtype: torch.dtype) -> Tensor:
        """The rows' visibility as an additive (B, 1, T, K + S + T) bias, built once for all layers."""
        key = (layer < min(self.tokens, default=0), window, dtype)
        if key not in self._biases:
            self._biases[key] = as_bias(self.masks(layer, window)[1], dtype)
        return self._biases[key]

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
            is_slot = torch.isin(self.rows + self.start, self.slots)
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
    """How one packed pass is laid out; a dict as `capture` receives every layer's keys and values, (N, h_kv, d_h)."""

    groups: list[Group]
    capture: dict[int, KeyValue] | None = None


class RowAttention(torch.autograd.Function):
    """Rows attend to what is before them and to themselves; padding exists only between the two gathers.

    query (n, h, d_h), key and value (n, h_kv, d_h): the row tokens, packed. before_k, before_v: what every row sees
    first, (h_kv, M, d_h), or (B, h_kv, M, d_h) per row. bias: (B, 1, T, M + T), 0 where visible, else -inf.
    Returns (n, h, d_h). Written out by hand because each product is small: autograd's bookkeeping, its zero-filled
    buffers and the sums over expanded keys cost as much as the products themselves.
    """

    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        before_k: Tensor,
        before_v: Tensor,
        group: "Group",
        bias: Tensor,
        scaling: float,
    ) -> Tensor:
        (batch, width), (n, heads, size), h_kv = group.rows.shape, query.shape, key.shape[1]
        index = group.rows.reshape(-1)

        def padded(states: Tensor) -> Tensor:  # (n, heads, d_h) -> (h_kv, B, heads / h_kv, T, d_h)
            rows = states.reshape(n, -1).index_select(0, index)
            return rows.view(batch, width, h_kv, -1, size).permute(2, 0, 3, 1, 4)

        def behind(before: Tensor, own: Tensor) -> Tensor:  # (h_kv · B, M + T, d_h)
            first = before.transpose(0, 1) if before.dim() == 4 else before[:, None].expand(-1, batch, -1, -1)
            return torch.cat([first, padded(own)[:, :, 0]], dim=2).flatten(0, 1)

        q = (padded(query) * scaling).reshape(h_kv * batch, -1, size)  # (h_kv · B, g · T, d_h)
        k, v = behind(before_k, key), behind(before_v, value)
        scores = torch.bmm(q, k.transpose(1, 2))
        scores.view(h_kv, batch, -1, width, k.shape[1]).add_(bias)
        weights = scores.softmax(dim=-1)
        out = torch.bmm(weights, v).view(h_kv, batch, -1, width, size).permute(1, 3, 0, 2, 4)
        ctx.save_for_backward(q, k, v, weights, group.places)
        ctx.sizes = (batch, width, n, h_kv, size, scaling, before_k.dim())
        return out.reshape(batch * width, -1).index_select(0, group.places).view(n, heads, size)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, weights, places = ctx.saved_tensors
        batch, width, n, h_kv, size, scaling, before_dims = ctx.sizes
        grad = grads[0].reshape(n, -1)
        grad = grad.new_zeros(batch * width, grad.shape[1]).index_copy_(0, places, grad)
        grad = grad.view(batch, width, h_kv, -1, size).permute(2, 0, 3, 1, 4).reshape(q.shape)

        def packed(states: Tensor) -> Tensor:  # (h_kv, B, g, T, d_h) -> (n, h_kv · g, d_h)
            rows = states.permute(1, 3, 0, 2, 4).reshape(batch * width, -1)
            return rows.index_select(0, places).view(n, -1, size)

        def split(full: Tensor) -> tuple[Tensor, Tensor]:  # (h_kv · B, M + T, d_h) -> before, own
            both = full.view(h_kv, batch, -1, size)
            before = both[:, :, : both.shape[2] - width]
            before = before.transpose(0, 1) if before_dims == 4 else before.sum(1)
            return before, packed(both[:, :, None, both.shape[2] - width :])

        # Flash-attention's equations: dS = P * (dP - rowsum(dP * P)), dQ = dS K, dK = dS^T Q, dV = P^T dO.
        d_scores = torch.ops.aten._softmax_backward_data(torch.bmm(grad, v.transpose(1, 2)), weights, -1, weights.dtype)
        d_query = packed((torch.bmm(d_scores, k) * scaling).view(h_kv, batch, -1, width, size))
        d_before_k, d_key = split(torch.bmm(d_scores.transpose(1, 2), q))
        d_before_v, d_value = split(torch.bmm(weights.transpose(1, 2), grad))
        return d_query, d_key, d_value, d_before_k, d_before_v, None, None, None


def attend(query: Tensor, key: Tensor, value: Tensor, visible: Tensor, scaling: float, softcap: float | None) -> Tensor:
    """Attention of (B, h, T, d_h) queries over (B, h_kv, K, d_h) keys, as `visible` (B or 1, T, K); returns as query.

    Grouped heads share their keys without a copy. Long rows take torch's fused kernel, which never stores the scores.
    """
    batch, heads, width, size = query.shape
    if softcap is None and _fused(query, width, key.shape[2]):
        return F.scaled_dot_product_attention(
            query, key, value, attn_mask=visible[:, None], scale=scaling, enable_gqa=heads != key.shape[1]
        )
    grouped = query.reshape(batch, key.shape[1], -1, size)  # (B, h_kv, g·T, d_h)
    scores = (grouped * scaling) @ key.transpose(2, 3)
    if softcap is not None:
        scores = torch.tanh(scores / softcap) * softcap
    scores = scores.view(batch, key.shape[1], -1, width, key.shape[2]) + as_bias(visible, scores.dtype)[:, :, None]
    weights = scores.softmax(dim=-1).view(batch, key.shape[1], -1, key.shape[2])
    return (weights @ value).view(batch, heads, width, size)


def _fused(states: Tensor, width: int, n_keys: int) -> bool:
    return states.is_cuda or width * n_keys >= FUSED_FROM


def as_bias(visible: Tensor, dtype: torch.dtype) -> Tensor:
    """(B, T, K) visibility as an additive (B, 1, T, K) bias of 0 and -inf."""
    return torch.zeros(visible.shape, dtype=dtype, device=visible.device).masked_fill_(~visible, float("-inf"))[:, None]


@dataclass(frozen=True)
class How:
    """What a model asks of its attention beside queries, keys and values."""

    layer: int
    scaling: float
    softcap: float | None
    window: int | None


def attend_group(query: Tensor, key: Tensor, value: Tensor, group: Group, how: How) -> Tensor:
    """Attention of one group's tokens: query (S + n, h, d_h), key and value (S + n, h_kv, d_h); returns as query."""
    visible = group.masks(how.layer, how.window)
    sizes = [group.n_shared, group.places.numel()]
    (shared_q, row_q), *pairs = (states.split(sizes) for states in (query, key, value))
    before = [pair[0].transpose(0, 1) for pair in pairs]  # (h_kv, S, d_h)
    if group.kv:
        before = _behind(group.kv[how.layer], before)
    outputs = []
    if group.n_shared:
        heads, keys, values = (states[None] for states in (shared_q.transpose(0, 1), *before))
        out = attend(heads, keys, values, visible[0][None], how.scaling, how.softcap)
        outputs.append(out[0].transpose(0, 1))
    if group.places.numel():
        outputs.append(_attend_rows(row_q, pairs[0][1], pairs[1][1], before, group, visible[1], how))
    return torch.cat(outputs) if len(outputs) > 1 else outputs[0]


def _behind(kv: KeyValue, shared: list[Tensor]) -> list[Tensor]:
    """The group's own shared keys and values behind the injected ones."""
    injected = [part.to(own.dtype) for part, own in zip(kv, shared, strict=True)]
    if not shared[0].shape[1]:
        return injected
    return [torch.cat([first, own], dim=-2) for first, own in zip(injected, shared, strict=True)]


def _attend_rows(
    query: Tensor, key: Tensor, value: Tensor, before: list[Tensor], group: Group, visible: Tensor, how: How
) -> Tensor:
    (batch, width), n_keys = group.rows.shape, visible.shape[-1]
    if how.softcap is None and not _fused(query, width, n_keys):
        bias = group.bias(how.layer, how.window, query.dtype)
        return RowAttention.apply(query, key, value, *before, group, bias, how.scaling)

    def padded(states: Tensor) -> Tensor:  # (n, h, d_h) -> (B, h, T, d_h)
        return states[group.rows].transpose(1, 2)

    keys, values = (
        torch.cat([first.expand(batch, -1, -1, -1), padded(own)], dim=2)
        for first, own in zip(before, (key, value), strict=True)
    )
    out = attend(padded(query), keys, values, visible, how.scaling, how.softcap)
    return out.transpose(1, 2).reshape(batch * width, *query.shape[1:])[group.places]


@torch.compiler.disable  # the layout's bookkeeping is Python: a compiled layer calls this part as it is
def packed_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    cuetune_layout: Layout | None = None,
    **kwargs: Any,
) -> tuple[Tensor, Tensor | None]:
    """What transformers calls in every layer: query (1, h, N, d_h), key and value (1, h_kv, N, d_h).

    Without a layout this is the model's stock attention, so wrapping a model changes none of its own outputs.
    Returns (1, N, h, d_h).
    """
    if cuetune_layout is None:
        return compat.stock_attention(
            module, query, key, value, attention_mask, scaling=scaling, dropout=dropout, **kwargs
        )
    layer = int(module._cuetune_layer)  # type: ignore[arg-type]
    scale = scaling if scaling is not None else query.shape[-1] ** -0.5
    how = How(layer, scale, kwargs.get("softcap"), kwargs.get("sliding_window"))
    packed = [states[0].transpose(0, 1) for states in (query, key, value)]
    if cuetune_layout.capture is not None:
        cuetune_layout.capture[how.layer] = (packed[1].detach(), packed[2].detach())
    sizes = [group.stop - group.start for group in cuetune_layout.groups]
    q, k, v = (states.split(sizes) for states in packed)
    outputs = [attend_group(*part, how) for part in zip(q, k, v, cuetune_layout.groups, strict=True)]
    return torch.cat(outputs)[None] if len(outputs) > 1 else outputs[0][None], None


compat.register_attention(packed_attention)
