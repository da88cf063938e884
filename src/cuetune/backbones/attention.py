"""The one attention function: rows attend to what they share and to themselves, and no matrix product sees padding.

A pass is one packed sequence made of groups, `[shared | row 1 | row 2 | …]` each. Shared positions attend causally to
each other; a row attends to its group's shared part and to itself: causally in a causal model, in both directions in an
encoder, where nothing but keys and values can be shared. Only inside attention are the rows laid out as (B, T) with
padding; everything else in the model sees the packed sequence.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from cuetune.backbones.compat import text as compat
from cuetune.backbones.groups import Block, Group, Layout
from cuetune.backbones.injection import KeyValue
from cuetune.backbones.mask_rule import MaskRule
from cuetune.backbones.padding import PaddedLayout
from cuetune.errors import CuetuneError

# From this many scores per head on, fused attention wins over plain products because it never stores the scores.
FUSED_FROM = 512 * 512


class RowAttention(torch.autograd.Function):
    """Rows attend to what is before them and to themselves; padding exists only between the two gathers.

    query (n, h, d_h), key and value (n, h_kv, d_h): the row tokens, packed. before_k, before_v: what every row sees
    first, (h_kv, M, d_h), or (B, h_kv, M, d_h) per row. bias: (B, 1, T, M + T), 0 where visible, else -inf. sinks: (h,)
    as in `How`, or None. Returns (n, h, d_h). Written out by hand because each product is small: autograd's
    bookkeeping, its zero-filled buffers and the sums over expanded keys cost as much as the products themselves.
    """

    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        before_k: Tensor,
        before_v: Tensor,
        block: Block,
        bias: Tensor,
        scaling: float,
        sinks: Tensor | None,
    ) -> Tensor:
        (batch, width), (n, heads, size), h_kv = block.rows.shape, query.shape, key.shape[1]
        ragged = n < batch * width  # rows of one length, or one alone, already lie as they should

        def padded(states: Tensor) -> Tensor:  # (n, heads, d_h) -> (h_kv, B, heads / h_kv, T, d_h)
            rows = states.reshape(n, -1)
            rows = rows.index_select(0, block.rows.reshape(-1)) if ragged else rows
            return rows.view(batch, width, h_kv, -1, size).permute(2, 0, 3, 1, 4)

        def behind(before: Tensor, own: Tensor) -> Tensor:  # (h_kv · B, M + T, d_h)
            first = before.transpose(0, 1) if before.dim() == 4 else before[:, None].expand(-1, batch, -1, -1)
            return torch.cat([first, padded(own)[:, :, 0]], dim=2).flatten(0, 1)

        q = (padded(query) * scaling).reshape(h_kv * batch, -1, size)  # (h_kv · B, g · T, d_h)
        k, v = behind(before_k, key), behind(before_v, value)
        scores = torch.bmm(q, k.transpose(1, 2))
        scores.view(h_kv, batch, -1, width, k.shape[1]).add_(bias)
        if sinks is None:
            weights = scores.softmax(dim=-1)
        else:
            column = sinks.view(h_kv, 1, -1, 1).expand(-1, batch, -1, width).reshape(*scores.shape[:2], 1)
            weights = _softmax_beside(scores, column)
        out = torch.bmm(weights, v).view(h_kv, batch, -1, width, size).permute(1, 3, 0, 2, 4)
        ctx.save_for_backward(q, k, v, weights, block.places)
        ctx.sizes = (batch, width, n, h_kv, size, scaling, before_k.dim())
        out = out.reshape(batch * width, -1)
        return (out.index_select(0, block.places) if ragged else out).view(n, heads, size)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, weights, places = ctx.saved_tensors
        batch, width, n, h_kv, size, scaling, before_dims = ctx.sizes
        ragged, grad = n < batch * width, grads[0].reshape(n, -1)
        if ragged:
            grad = grad.new_zeros(batch * width, grad.shape[1]).index_copy_(0, places, grad)
        grad = grad.view(batch, width, h_kv, -1, size).permute(2, 0, 3, 1, 4).reshape(q.shape)

        def packed(states: Tensor) -> Tensor:  # (h_kv, B, g, T, d_h) -> (n, h_kv · g, d_h)
            rows = states.permute(1, 3, 0, 2, 4).reshape(batch * width, -1)
            return (rows.index_select(0, places) if ragged else rows).view(n, -1, size)

        def split(full: Tensor) -> tuple[Tensor, Tensor]:  # (h_kv · B, M + T, d_h) -> before, own
            both = full.view(h_kv, batch, -1, size)
            before = both[:, :, : both.shape[2] - width]
            before = before.transpose(0, 1) if before_dims == 4 else before.sum(1)
            return before, packed(both[:, :, None, both.shape[2] - width :])

        # Flash-attention's equations: dS = P * (dP - rowsum(dP * P)), dQ = dS K, dK = dS^T Q, dV = P^T dO. They hold
        # with a sink too: it has no value, so its dP is 0 and P are the other columns.
        d_scores = torch.ops.aten._softmax_backward_data(torch.bmm(grad, v.transpose(1, 2)), weights, -1, weights.dtype)
        d_query = packed((torch.bmm(d_scores, k) * scaling).view(h_kv, batch, -1, width, size))
        d_before_k, d_key = split(torch.bmm(d_scores.transpose(1, 2), q))
        d_before_v, d_value = split(torch.bmm(weights.transpose(1, 2), grad))
        return d_query, d_key, d_value, d_before_k, d_before_v, None, None, None, None


def attend(query: Tensor, key: Tensor, value: Tensor, visible: Tensor, how: "How") -> Tensor:
    """Attention of (B, h, T, d_h) queries over (B, h_kv, K, d_h) keys, as `visible` (B or 1, T, K); returns as query.

    Grouped heads share their keys without a copy. Long rows take torch's fused kernel, which never stores the scores.
    """
    batch, heads, width, size = query.shape
    if how.softcap is None and how.sinks is None and _fused(query, width, key.shape[2]):
        return F.scaled_dot_product_attention(
            query, key, value, attn_mask=visible[:, None], scale=how.scaling, enable_gqa=heads != key.shape[1]
        )
    grouped = query.reshape(batch, key.shape[1], -1, size)  # (B, h_kv, g·T, d_h)
    scores = (grouped * how.scaling) @ key.transpose(2, 3)
    if how.softcap is not None:
        scores = torch.tanh(scores / how.softcap) * how.softcap
    scores = scores.view(batch, key.shape[1], -1, width, key.shape[2]) + as_bias(visible, scores.dtype)[:, :, None]
    if how.sinks is None:
        weights = scores.softmax(dim=-1)
    else:
        column = how.sinks.view(1, key.shape[1], -1, 1, 1).expand(batch, -1, -1, width, 1)
        weights = _softmax_beside(scores, column)
    return (weights.view(batch, key.shape[1], -1, key.shape[2]) @ value).view(batch, heads, width, size)


def _softmax_beside(scores: Tensor, column: Tensor) -> Tensor:
    """Attention weights (…, K) of scores (…, K) beside a sink (…, 1), which takes its share and gives no value."""
    return torch.cat([scores, column.to(scores.dtype)], dim=-1).softmax(dim=-1)[..., :-1].contiguous()


def _fused(states: Tensor, width: int, n_keys: int) -> bool:
    return states.is_cuda or width * n_keys >= FUSED_FROM


def as_bias(visible: Tensor, dtype: torch.dtype) -> Tensor:
    """(B, T, K) visibility as an additive (B, 1, T, K) bias of 0 and -inf."""
    return torch.zeros(visible.shape, dtype=dtype, device=visible.device).masked_fill_(~visible, float("-inf"))[:, None]


@dataclass(frozen=True)
class How:
    """What a model asks of its attention beside queries, keys and values.

    softcap: c of c · tanh(scores / c). sinks: (h,) a score per head that stands beside those of all keys in the
    softmax and gives no value. rule: which positions see which.
    """

    layer: int
    scaling: float
    softcap: float | None
    sinks: Tensor | None
    rule: MaskRule


def attend_group(query: Tensor, key: Tensor, value: Tensor, group: Group, how: How) -> Tensor:
    """Attention of one group's tokens: query (S + n, h, d_h), key and value (S + n, h_kv, d_h); returns as query."""
    sizes = [group.n_shared, *(block.places.numel() for block in group.blocks)]
    queries, keys, values = (states.split(sizes) for states in (query, key, value))
    before = [keys[0].transpose(0, 1), values[0].transpose(0, 1)]  # (h_kv, S, d_h)
    if how.layer in group.kv:
        before = _behind(group.kv[how.layer], before)
    outputs = []
    if group.n_shared:
        visible = group.once("shared", group.shared_visible, how.layer, how.rule)
        heads, k, v = (states[None] for states in (queries[0].transpose(0, 1), *before))
        outputs.append(attend(heads, k, v, visible[None], how)[0].transpose(0, 1).contiguous())
    for number in range(len(group.blocks)):
        own = (queries[number + 1], keys[number + 1], values[number + 1])
        outputs.append(_attend_block(*own, before, group, number, how))
    return torch.cat(outputs) if len(outputs) > 1 else outputs[0]


def _behind(kv: KeyValue, shared: list[Tensor]) -> list[Tensor]:
    """The group's own shared keys and values behind the injected ones."""
    injected = [part.to(own.dtype) for part, own in zip(kv, shared, strict=True)]
    if not shared[0].shape[1]:
        return injected
    return [torch.cat([first, own], dim=-2) for first, own in zip(injected, shared, strict=True)]


def _attend_block(
    query: Tensor, key: Tensor, value: Tensor, before: list[Tensor], group: Group, number: int, how: How
) -> Tensor:
    """Attention of one block's rows, (n, h, d_h): by hand where rows are short, else by torch's fused kernel."""
    block = group.blocks[number]
    batch, width = block.rows.shape
    before = [part[block.numbers] if part.dim() == 4 else part for part in before]
    if group.past is not None:
        past = group.past.of_rows(how.layer, block.numbers)
        before = [
            torch.cat([first.expand(batch, -1, -1, -1), read], dim=2) for first, read in zip(before, past, strict=True)
        ]
    tuned = how.sinks is not None and how.sinks.requires_grad  # fine-tuning, for which nothing is written by hand
    if how.softcap is None and not tuned and not _fused(query, width, before[0].shape[-2] + width):

        def bias(*seen: Any) -> Tensor:
            return as_bias(group.row_visible(*seen), query.dtype)

        seen = group.once("bias", bias, how.layer, number, how.rule)
        return RowAttention.apply(query, key, value, *before, block, seen, how.scaling, how.sinks)

    def padded(states: Tensor) -> Tensor:  # (n, h, d_h) -> (b, h, T, d_h)
        return states[block.rows].transpose(1, 2)

    keys, values = (
        torch.cat([first.expand(batch, -1, -1, -1), padded(own)], dim=2)
        for first, own in zip(before, (key, value), strict=True)
    )
    visible = group.once("rows", group.row_visible, how.layer, number, how.rule)
    out = attend(padded(query), keys, values, visible, how)
    return out.transpose(1, 2).reshape(batch * width, *query.shape[1:])[block.places]


# Of what a model may hand to its attention, these change nothing of it; windows are in the mask, by which eager goes.
UNUSED = {"sliding_window", "is_causal", "position_ids", "cache_position", "use_cache", "output_attentions"}
UNUSED |= {"output_hidden_states", "return_dict", "deterministic", "past_key_values", "output_router_logits"}
USED = {"softcap", "s_aux"}


def _refuse_unknown(arguments: dict[str, Any]) -> None:
    """Raise CuetuneError for an argument that may change the attention in a way that is not known here."""
    unknown = sorted(name for name, value in arguments.items() if value is not None and name not in UNUSED | USED)
    if unknown:
        raise CuetuneError(f"its attention goes by {', '.join(unknown)}")


@torch.compiler.disable  # the layout's bookkeeping is Python: a compiled layer calls this part as it is
def packed_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    cuetune_layout: Layout | PaddedLayout | None = None,
    **kwargs: Any,
) -> tuple[Tensor, Tensor | None]:
    """What transformers calls in every layer: query (1, h, N, d_h), key and value (1, h_kv, N, d_h).

    Without a layout this is the model's stock attention, so wrapping a model changes none of its own outputs.
    Returns (1, N, h, d_h).
    """
    if cuetune_layout is None:
        if attention_mask is not None and attention_mask.shape[-1] > key.shape[2] > query.shape[2]:
            attention_mask = attention_mask[..., -key.shape[2] :]  # a cache with fewer keys than another layer's
        return compat.stock_attention(
            module, query, key, value, attention_mask, scaling=scaling, dropout=dropout, **kwargs
        )
    if isinstance(cuetune_layout, PaddedLayout):
        return cuetune_layout.attend(module, query, key, value, scaling=scaling, **kwargs)
    _refuse_unknown(kwargs)
    if query.shape[-1] != value.shape[-1]:
        raise CuetuneError("its keys and values have different sizes")
    scale = scaling if scaling is not None else query.shape[-1] ** -0.5
    rule = cuetune_layout.rule(attention_mask)
    how = How(cuetune_layout.layer, scale, kwargs.get("softcap"), kwargs.get("s_aux"), rule)
    packed = [states[0].transpose(0, 1) for states in (query, key, value)]
    if cuetune_layout.capture is not None:
        cuetune_layout.capture[how.layer] = (packed[1].detach(), packed[2].detach())
    sizes = [group.stop - group.start for group in cuetune_layout.groups]
    q, k, v = (states.split(sizes) for states in packed)
    outputs = [attend_group(*part, how) for part in zip(q, k, v, cuetune_layout.groups, strict=True)]
    return torch.cat(outputs)[None] if len(outputs) > 1 else outputs[0][None], None


compat.register_attention(packed_attention)
