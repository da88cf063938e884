"""How rows lie in one pass: groups that share a beginning, in them blocks of rows of like length, and who sees whom."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from cuetune.backbones.injection import KeyValue
from cuetune.backbones.mask_rule import MaskRule
from cuetune.errors import CuetuneError


@dataclass
class Block:
    """Rows of similar length, laid out as (b, T) inside attention.

    rows: (b, T) which of the block's n tokens stands in each place; padding points at 0.
    places: (n,) the places of that layout, flattened, that hold a real token, in packed order.
    own: (b, T, T) True where a row's query may see a row's key.
    positions: (b, T). numbers: (b,) which rows of the group these are, for keys and values that differ by row.
    slots: (b, T) True where a virtual token of the row's own prompt stands, or None.
    """

    rows: Tensor
    places: Tensor
    own: Tensor
    positions: Tensor
    numbers: Tensor
    slots: Tensor | None = None


@dataclass(frozen=True)
class Past:
    """Keys and values of tokens that were read in an earlier pass, and stand between the shared part and each row.

    kv: layer -> (keys, values), each (B, h_kv, M, d_h), right-padded. lengths: (B,) how many of the M are real.
    owners: (P,) which of the B each row of this pass goes on from; several rows may go on from one.
    """

    kv: Mapping[int, KeyValue]
    lengths: Tensor
    owners: Tensor

    @property
    def width(self) -> int:
        """M, the most tokens that stand before a row."""
        return int(next(iter(self.kv.values()))[0].shape[2])

    @property
    def row_lengths(self) -> Tensor:
        """(P,) how many tokens stand before each row of this pass."""
        return self.lengths[self.owners]

    def of_rows(self, layer: int, numbers: Tensor) -> KeyValue:
        """Keys and values (b, h_kv, M, d_h) before these rows of the pass."""
        keys, values = self.kv[layer]
        owners = self.owners[numbers]
        return keys[owners], values[owners]


@dataclass
class Group:
    """Rows that see the same shared part. `Layout` places groups one after another in the packed sequence.

    start, n_shared: where the shared part stands, S positions long (0 for rows that each carry their own prompt).
    blocks: the rows, in packed order. shared_positions: (S,).
    kv: layer -> keys and values before the sequence, (h_kv, K, d_h) shared or (B, h_kv, K, d_h) per row; a layer with
        fewer than the longest has the last of the K positions.
    kv_lengths: (B,) valid leading positions of per-row `kv`, or None when all are.
    tokens: layer -> virtual token states (P, d) or (B, P, d); slots: (P,) or (B, P) where they stand when packed.
    causal: whether its rows read from left to right. past: what each row goes on from, read in an earlier pass.
    """

    start: int
    n_shared: int
    blocks: list[Block]
    shared_positions: Tensor
    kv: Mapping[int, KeyValue] = field(default_factory=dict)
    kv_lengths: Tensor | None = None
    tokens: Mapping[int, Tensor] = field(default_factory=dict)
    slots: Tensor | None = None
    causal: bool = True
    past: Past | None = None
    _made: dict[Any, Any] = field(default_factory=dict)

    @property
    def stop(self) -> int:
        return self.start + self.n_shared + sum(block.places.numel() for block in self.blocks)

    @property
    def n_kv(self) -> int:
        return max((keys.shape[-2] for keys, _ in self.kv.values()), default=0)

    def once(self, what: str, make: Callable[..., Any], layer: int, *key: Any) -> Any:
        """A mask, built for the first layer that needs it and shared by all that see the same."""
        asleep = layer < min(self.tokens, default=0)
        n_kv = self.kv[layer][0].shape[-2] if layer in self.kv else 0
        seen = (what, asleep, n_kv, key)
        if seen not in self._made:
            self._made[seen] = make(asleep, n_kv, *key)
        return self._made[seen]

    def shared_visible(self, asleep: bool, n_kv: int, rule: MaskRule) -> Tensor:
        """(S, K + S) who of the shared positions sees whom. asleep: below the layer where the prompt enters."""
        before = self._before(n_kv)
        visible = self.shared_positions[:, None] >= before
        if asleep:  # the prompt's slots are empty there: nobody sees them but themselves
            hidden = self._hidden()
            alone = torch.eye(self.n_shared, dtype=torch.bool, device=before.device)[:, hidden]
            visible[:, hidden + n_kv] = alone
        if rule.sees is not None:
            visible &= rule.sees(self.shared_positions[:, None], before[None])
        return visible

    def row_visible(self, asleep: bool, n_kv: int, number: int, rule: MaskRule) -> Tensor:
        """(b, T, K + S + M + T) what the rows of one block see: what is before them, and themselves."""
        block, before = self.blocks[number], self._before(n_kv)
        batch, width = block.rows.shape
        memory = torch.ones(batch, before.numel(), dtype=torch.bool, device=before.device)
        if self.kv_lengths is not None:
            memory[:, :n_kv] = before[:n_kv] < self.kv_lengths[block.numbers, None]
        own = block.own
        if asleep and self.n_shared:
            memory[:, self._hidden() + n_kv] = False
        elif asleep and block.slots is not None:
            own = own & (~block.slots[:, None] | torch.eye(width, dtype=torch.bool, device=own.device))
        if self.past is not None:
            place = torch.arange(self.past.width, device=before.device)
            memory = torch.cat([memory, place < self.past.row_lengths[block.numbers, None]], dim=1)
            before = torch.cat([before, self.n_kv + self.n_shared + place])
        visible = torch.cat([memory[:, None].expand(-1, width, -1), own], dim=-1)
        if rule.sees is not None:
            keys = torch.cat([before.expand(batch, -1), block.positions], dim=1)
            visible &= rule.sees(block.positions[:, :, None], keys[:, None])
        return visible

    def _before(self, n_kv: int) -> Tensor:
        """(K + S,) positions of what stands before the rows, in a layer with `n_kv` keys of its own."""
        kv = torch.arange(self.n_kv - n_kv, self.n_kv, device=self.shared_positions.device)
        return torch.cat([kv, self.shared_positions])

    def _hidden(self) -> Tensor:
        assert self.slots is not None
        return self.slots - self.start

    def enter(self, layer: int, hidden: Tensor) -> Tensor:
        """Put the virtual tokens of `layer` into their slots of the packed states (1, N, d)."""
        if layer not in self.tokens:
            return hidden
        assert self.slots is not None
        states = self.tokens[layer].to(hidden).expand(*self.slots.shape, -1)
        return hidden.index_copy(1, self.slots.flatten(), states.reshape(1, -1, hidden.shape[-1]))


@dataclass
class Layout:
    """How one packed pass is laid out, and which part of the model it goes through.

    capture: a dict that receives every layer's keys and values, (N, h_kv, d_h) each.
    inputs: a dict that receives every layer's input states, (N, d).
    first: the layer that the pass enters at; those below are skipped, and `states` (1, N, d) are its input.
    last: the layer that the pass ends before; it and those above are skipped.
    read: the places (K,) whose final states are read, or None for all.
    rules: the masks that the model makes in this pass. layer: the one that runs now. called: how many layers have been
    entered; tells the layers of a model apart that all share one module.
    """

    groups: list[Group]
    capture: dict[int, KeyValue] | None = None
    inputs: dict[int, Tensor] | None = None
    first: int = 0
    states: Tensor | None = None
    last: int | None = None
    read: Tensor | None = None
    rules: list[MaskRule] = field(default_factory=list)
    layer: int = 0
    called: int = 0

    def rule(self, mask: Tensor | None) -> MaskRule:
        """The rule whose number a layer was handed as its mask. Raises CuetuneError where the model made another."""
        if mask is None or mask.numel() != 1 or not self.rules:
            raise CuetuneError("it makes its attention masks by itself")
        rule = self.rules[int(mask)]
        rule.check(self.groups[0].causal)
        return rule

    def next_layer(self) -> int:
        """The number of the layer that is entered now, by the order of calls."""
        self.called += 1
        return self.called - 1

    def runs(self, layer: int) -> bool:
        """Whether the pass goes through this layer."""
        return layer >= self.first and (self.last is None or layer < self.last)

    def enter(self, layer: int, hidden: Tensor) -> Tensor:
        """What goes into a layer, (1, N, d): the pass's first states, and the virtual tokens that enter here."""
        if layer == self.first and self.states is not None:
            hidden = self.states
        if layer:
            for group in self.groups:
                hidden = group.enter(layer, hidden)
        if self.inputs is not None:
            self.inputs[layer] = hidden[0]
        return hidden
