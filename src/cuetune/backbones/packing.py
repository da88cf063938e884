"""Packing: rows of tokens and their prompt as one sequence without padding, and the layout that attention needs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from cuetune.backbones.batches import TokenBatch
from cuetune.backbones.groups import Block, Group, Layout
from cuetune.backbones.injection import Injection

BLOCK, MOST_BLOCKS = 16, 8  # rows per block at least, and blocks at most: more cost more in calls than they save


@dataclass(frozen=True)
class Packed:
    """One packed pass: embeddings (1, N, d), positions (1, N), the layout, and the places to read of each part."""

    embeddings: Tensor
    positions: Tensor
    layout: Layout
    read: list[Tensor]


def pack(
    parts: Sequence[tuple[TokenBatch, Injection]], embed: Callable[[Tensor], Tensor], *, by_length: bool = True
) -> Packed:
    """Lay out several (rows, injection) parts in one pass; each part's prompt is computed once, for all its rows.

    by_length: rows of similar length go next to each other and share a block, so that attention pads little. What
    `read` asks for comes back in the caller's order either way.
    """
    embeddings, positions, groups, read = [], [], [], []
    start = 0
    for given, prompt in parts:
        rows, injection = _sorted(given, prompt) if by_length else (given, prompt)
        place = _per_row if injection.per_row or not rows.causal else _shared_once
        states, where, group, wanted = place(rows, injection, embed, start)
        embeddings.append(states)
        positions.append(where)
        groups.append(group)
        read.append(wanted)
        start = group.stop
    layout = Layout(groups, read=torch.cat(read))
    return Packed(torch.cat(embeddings)[None], torch.cat(positions)[None], layout, read)


def _sorted(rows: TokenBatch, injection: Injection) -> tuple[TokenBatch, Injection]:
    """The same rows, and what belongs to each of them, from short to long."""
    order = sorted(range(len(rows.lengths)), key=rows.lengths.__getitem__)
    if order == list(range(len(order))):
        return rows, injection
    device = rows.ids.device
    pieces = torch.arange(len(rows.ids), device=device).split(list(rows.lengths))
    taken = torch.cat([pieces[number] for number in order])
    landed = torch.empty_like(taken)
    landed[taken] = torch.arange(len(taken), device=device)
    moved = replace(
        rows, ids=rows.ids[taken], lengths=[rows.lengths[number] for number in order], read=landed[rows.read]
    )
    return moved, injection.of_rows(torch.tensor(order, device=device))


def same_length(lengths: Sequence[int]) -> list[list[int]]:
    """Numbers of sequences in groups of equal length."""
    groups: dict[int, list[int]] = {}
    for number, length in enumerate(lengths):
        groups.setdefault(length, []).append(number)
    return list(groups.values())


def of_rows(rows: TokenBatch, numbers: Sequence[int]) -> tuple[TokenBatch, Tensor]:
    """These rows alone, in this order, and which of the K places that are read are theirs."""
    pieces = torch.arange(len(rows.ids), device=rows.ids.device).split(list(rows.lengths))
    taken = torch.cat([pieces[number] for number in numbers])
    landed = rows.ids.new_full((len(rows.ids),), -1)
    landed[taken] = torch.arange(len(taken), device=rows.ids.device)
    reads = (landed[rows.read] >= 0).nonzero().squeeze(1)
    lengths = [rows.lengths[number] for number in numbers]
    return replace(rows, ids=rows.ids[taken], lengths=lengths, read=landed[rows.read[reads]], query=None), reads


def positions_of(rows: TokenBatch, injection: Injection) -> list[int]:
    """How many positions each row takes, prompt and shared text included."""
    before = [injection.n_kv] * len(rows.lengths) if injection.lengths is None else injection.lengths.tolist()
    extra = injection.n_tokens + len(rows.shared)
    if rows.tail is not None and rows.depth is not None and len(rows.depth):  # branches of the tree stand side by side
        extra += int(rows.depth.max()) - len(rows.depth)
    return [first + extra + length for first, length in zip(before, rows.lengths, strict=True)]


Placed = tuple[Tensor, Tensor, Group, Tensor]


def _shared_once(rows: TokenBatch, injection: Injection, embed: Callable[[Tensor], Tensor], start: int) -> Placed:
    """[prompt | shared text | row 1 | row 2 | …]: the prompt belongs to all rows."""
    device, n_tokens = rows.ids.device, injection.n_tokens
    text = embedded_text(rows, injection, embed)
    states = torch.cat([_virtual(injection, text), text])
    n_shared = n_tokens + len(rows.shared)
    shared_positions = injection.n_kv + torch.arange(n_shared, device=device)
    first = injection.n_kv + n_shared
    blocks = _blocks(rows, first if rows.past is None else first + rows.past.row_lengths)
    slots = start + torch.arange(n_tokens, device=device)
    group = Group(
        start, n_shared, blocks, shared_positions, injection.kv, None, injection.tokens, slots, past=rows.past
    )
    positions = torch.cat([shared_positions, *(_real(block) for block in blocks)])
    return states, positions, group, start + n_shared + rows.read


def _per_row(rows: TokenBatch, injection: Injection, embed: Callable[[Tensor], Tensor], start: int) -> Placed:
    """[prompt 1 | shared text | row 1 | prompt 2 | shared text | row 2 | …]: every row brings its own prompt.

    So it is where prompts differ, and in encoders, where the states of one prompt depend on the text behind it.
    """
    device, batch = rows.ids.device, len(rows.lengths)
    n_tokens, extra = injection.n_tokens, injection.n_tokens + len(rows.shared)
    lengths = torch.tensor(rows.lengths, device=device)
    row_of = torch.repeat_interleave(torch.arange(batch, device=device), lengths)
    moved = torch.arange(len(rows.ids), device=device) + (row_of + 1) * extra  # where each text token lands
    before = lengths.cumsum(0) - lengths + torch.arange(batch, device=device) * extra  # where each row starts
    source = embedded_text(rows, injection, embed)
    states = source.new_empty((batch * extra + len(rows.ids), source.shape[-1]))
    slots = before[:, None] + torch.arange(n_tokens, device=device)
    shared_at = before[:, None] + n_tokens + torch.arange(len(rows.shared), device=device)
    states = states.index_copy(0, moved, source[len(rows.shared) :])
    if len(rows.shared):
        states = states.index_copy(0, shared_at.flatten(), source[: len(rows.shared)].repeat(batch, 1))
    if n_tokens:
        virtual = _virtual(injection, source).expand(batch, -1, -1)
        states = states.index_copy(0, slots.flatten(), virtual.reshape(batch * n_tokens, -1))
    first = injection.lengths if injection.lengths is not None else injection.n_kv
    blocks = _blocks(rows, first, extra, n_tokens)
    tokens, kv = injection.tokens, injection.kv
    group = Group(start, 0, blocks, lengths.new_empty(0), kv, injection.lengths, tokens, start + slots, rows.causal)
    return states, torch.cat([_real(block) for block in blocks]), group, start + moved[rows.read]


def embedded_text(rows: TokenBatch, injection: Injection, embed: Callable[[Tensor], Tensor]) -> Tensor:
    """(S + N, d) embeddings of the shared text and of all rows, with the prompt's offsets added."""
    text = embed(torch.cat([rows.shared, rows.ids]))
    if injection.offsets is None:
        return text
    place = torch.cat([torch.arange(len(rows.shared), device=text.device), len(rows.shared) + _in_row(rows)])
    reached = place < len(injection.offsets)
    added = injection.offsets.to(text).index_select(0, place[reached])
    return text.index_add(0, reached.nonzero().squeeze(1), added)


def _in_row(rows: TokenBatch) -> Tensor:
    """(N,) how far each token stands behind the beginning of its row; nodes of the tree at one depth share a place."""
    lengths = torch.tensor(rows.lengths, dtype=torch.long, device=rows.ids.device)
    starts = torch.repeat_interleave(lengths.cumsum(0) - lengths, lengths)
    column = torch.arange(len(rows.ids), device=rows.ids.device) - starts
    if rows.past is not None:
        column = column + torch.repeat_interleave(rows.past.row_lengths, lengths)
    if rows.depth is None:
        return column
    own = torch.repeat_interleave(lengths, lengths) - len(rows.depth)  # tokens of the row before the tree
    node = column - own
    return torch.where(node >= 0, own - 1 + rows.depth[node.clamp(min=0)], column)


def _virtual(injection: Injection, like: Tensor) -> Tensor:
    """The virtual tokens of layer 0 in the backbone's dtype; zeros where a prompt enters at a higher layer only."""
    if 0 in injection.tokens:
        return injection.tokens[0].to(like)
    return like.new_zeros((injection.n_tokens, like.shape[-1]))


def _blocks(rows: TokenBatch, first: int | Tensor, extra: int = 0, n_tokens: int = 0) -> list[Block]:
    """The rows in blocks of at least `BLOCK` neighbours.

    first: position of each row's first token, a number or (B,). extra: tokens in front of every row, of which the
    first `n_tokens` are virtual.
    """
    batch, device = len(rows.lengths), rows.ids.device
    n_blocks = 1 if device.type == "cuda" else max(1, min(MOST_BLOCKS, batch // BLOCK))
    numbers = torch.arange(batch, device=device)
    blocks = []
    for chosen in numbers.tensor_split(n_blocks) if batch else ():
        lengths = torch.tensor([rows.lengths[number] for number in chosen.tolist()], device=device) + extra
        column = torch.arange(int(lengths.max()), device=device)
        real = column < lengths[:, None]
        starts = lengths.cumsum(0) - lengths
        positions = _offsets(rows, column, lengths) + (first[chosen, None] if isinstance(first, Tensor) else first)
        slots = (column < n_tokens).expand_as(real) if n_tokens else None
        index = torch.where(real, starts[:, None] + column, 0)
        places = real.flatten().nonzero().squeeze(1)
        blocks.append(Block(index, places, _visible(rows, column, lengths, real), positions, chosen, slots))
    return blocks


def _real(block: Block) -> Tensor:
    """(n,) positions of the block's real tokens, in packed order."""
    return block.positions.flatten()[block.places]


def _tail_node(rows: TokenBatch, column: Tensor, lengths: Tensor) -> Tensor:
    """(B, T): which answer-tree node stands in each place, negative before the tree."""
    assert rows.tail is not None
    return column - (lengths[:, None] - rows.tail.shape[0])


def _offsets(rows: TokenBatch, column: Tensor, lengths: Tensor) -> Tensor:
    """(B, T) positions counted from each row's start; nodes of the tree at the same depth share one."""
    if rows.tail is None or rows.depth is None:
        return column.expand(len(lengths), -1)
    node = _tail_node(rows, column, lengths)
    n_nodes = rows.tail.shape[0]
    last = lengths[:, None] - n_nodes - 1
    return torch.where(node >= 0, last + rows.depth[node.clamp(0, n_nodes - 1)], column)


def _visible(rows: TokenBatch, column: Tensor, lengths: Tensor, real: Tensor) -> Tensor:
    """(B, T, T) who sees whom within each row; inside the answer tree, ancestors only. A place always sees itself."""
    own = real[:, None, :].expand(-1, len(column), -1)
    if rows.causal:
        own = own & (column[:, None] >= column)
    if rows.tail is not None:
        node = _tail_node(rows, column, lengths)
        inside = (node >= 0) & real
        clamped = node.clamp(0, rows.tail.shape[0] - 1)
        related = rows.tail[clamped[:, :, None], clamped[:, None, :]]
        own = own & (related | ~(inside[:, :, None] & inside[:, None, :]))
    return own | torch.eye(len(column), dtype=torch.bool, device=column.device)
