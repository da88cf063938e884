"""A prompt and the corrections that were made to it: each row gets what its fixes hold for rows like it, or nothing.

Components, keys and weights are those of CODA-Prompt (Smith et al., CVPR 2023, section 4), with a threshold: where rows
are unlike those that were corrected, every weight is zero and the answer is the former one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cuetune.backbones.batches import TokenBatch
from cuetune.backbones.injection import Injection, KeyValue
from cuetune.backbones.text import TextBackbone
from cuetune.errors import CuetuneError
from cuetune.prompts.base import Prompt
from cuetune.prompts.pool import cosine
from cuetune.prompts.prefix import layers_of
from cuetune.prompts.scaled import Scaled


@dataclass(frozen=True)
class Space:
    """Where queries are compared: q ↦ W (q - μ), μ (D,), W (R, D). Without it all of them point about the same way."""

    centre: Tensor
    whitening: Tensor

    def of(self, queries: Tensor) -> Tensor:
        """(B, D) -> (B, R)."""
        return F.linear(queries - self.centre, self.whitening)


class Fix(nn.Module):
    """The components of one fix: α_m(q) = clamp((cos(W (q - μ), K_m) - τ_m) / (σ_m - τ_m), 0, 1), p = sum_m α_m P_m.

    space: μ and W. keys: K (M, R). reach: τ and σ (M, 2), cosines from which a component begins to act, and acts fully.
    prefix_keys, prefix_values: P (L, M, h_kv, K, d_h), K positions in every layer.
    """

    centre: Tensor
    whitening: Tensor
    keys: Tensor
    reach: Tensor

    def __init__(self, space: Space, keys: Tensor, reach: Tensor, prefix_keys: Tensor, prefix_values: Tensor) -> None:
        super().__init__()
        n, whole = len(keys), prefix_keys.dim() == 5 and prefix_keys.shape == prefix_values.shape
        placed = space.centre.dim() == 1 and space.whitening.shape == (keys.shape[-1], len(space.centre))
        if not (whole and placed and keys.shape[:-1] == (n,) and reach.shape == (n, 2) and prefix_keys.shape[1] == n):
            raise CuetuneError("the keys, thresholds and components of a fix do not fit together.")
        if not bool((reach[:, 0] < reach[:, 1]).all()):
            raise CuetuneError("a component of a fix acts fully before it begins to act.")
        numbers = {"centre": space.centre, "whitening": space.whitening, "keys": keys, "reach": reach}
        for name, part in numbers.items():
            self.register_buffer(name, part.detach().clone().float())
        self.prefix_keys, self.prefix_values = Scaled(prefix_keys), Scaled(prefix_values)

    @property
    def size(self) -> tuple[int, ...]:
        """L, h_kv, K and d_h."""
        layers, _, *each = self.prefix_keys.values.shape
        return (layers, *each)

    @property
    def length(self) -> int:
        """K, the positions that its components take."""
        return self.size[2]

    def weights(self, queries: Tensor) -> Tensor:
        """α (B, M) in [0, 1] for queries (B, D)."""
        low, high = self.reach.T
        return ((cosine(Space(self.centre, self.whitening).of(queries), self.keys) - low) / (high - low)).clamp(0, 1)

    def added(self, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values (L, B, h_kv, K, d_h) of rows with these weights (B, M)."""
        both = (self.prefix_keys(), self.prefix_values())
        keys, values = (torch.einsum("bm,lmhkd->lbhkd", weights, part) for part in both)
        return keys, values


class CorrectedPrompt(Prompt):
    """The prompt `base`, which stays as it is, and fixes made one after another, none of which changes another.

    The query q of a row is the mean of the bare model's final states over its tokens. The weights of all fixes'
    components add up to 1 at most. Their K positions stand behind the base's; a row whose weights are all zero
    has none.
    Raises CuetuneError for a base that chooses words for each row, votes, or is corrected already.
    """

    kind = "corrected"
    reads_rows = True

    def __init__(self, base: Prompt, fixes: Sequence[Fix]) -> None:
        super().__init__()
        if len(base.members) > 1 or base.kind in ("corrected", "nearest"):
            raise CuetuneError(f"a {base.kind!r} prompt takes no corrections; correct a prompt of another kind.")
        shapes = {
            (len(fix.centre), fix.prefix_keys.values.shape[0], *fix.prefix_keys.values.shape[2:]) for fix in fixes
        }
        if len(shapes) != 1:
            raise CuetuneError("the fixes of a corrected prompt do not fit together.")
        self.base, self.fixes = base, nn.ModuleList(fixes)

    @property
    def former(self) -> Prompt:
        """The prompt before its last fix."""
        if len(self.fixes) == 1:
            return self.base
        return CorrectedPrompt(self.base, self.each[:-1])

    @property
    def each(self) -> list[Fix]:
        return list(self.fixes)  # type: ignore[arg-type]

    def weights(self, backbone: TextBackbone, rows: TokenBatch) -> list[Tensor]:
        """α (B, M) of each fix for these rows."""
        return self.weights_at(queries_of(backbone, rows))

    def weights_at(self, queries: Tensor) -> list[Tensor]:
        """α (B, M) of each fix for rows with these queries (B, D); more than 1 in all is scaled to 1."""
        found = [fix.weights(queries) for fix in self.each]
        total = torch.cat(found, dim=1).sum(dim=1, keepdim=True).clamp_min(1.0)
        return [weights / total for weights in found]

    def with_weights(self, base: Injection, weights: Sequence[Tensor]) -> Injection:
        """What rows with these weights, (B, M) for each fix, get beside what the base adds."""
        parts = [fix.added(own) for fix, own in zip(self.each, weights, strict=True)]
        keys, values = (torch.stack(part).sum(dim=0) for part in zip(*parts, strict=True))
        reached = torch.cat(list(weights), dim=1).amax(dim=1) > 0
        n_base = base.n_kv
        lengths = n_base + reached.long() * self.each[0].length
        own = layers_of(keys, values)
        kv = {**base.kv, **{layer: _behind(base.kv.get(layer), pair) for layer, pair in own.items()}}
        return Injection(base.tokens, kv, lengths, base.offsets)

    def for_rows(self, backbone: TextBackbone, rows: TokenBatch) -> Injection:
        return self.with_weights(base_for(backbone, self.base, rows), self.weights(backbone, rows))

    def injection(self) -> Injection:
        """That of a row which all components fit alike, for whoever only wants its shape."""
        weights = [fix.keys.new_full((1, len(fix.keys)), 1 / len(fix.keys)) for fix in self.each]
        whole = self.with_weights(self.base.injection(), weights)
        kv = {layer: (k[0], v[0]) if k.dim() == 4 else (k, v) for layer, (k, v) in whole.kv.items()}
        return Injection(whole.tokens, kv, None, whole.offsets)

    def combine(self, probabilities: Tensor) -> Tensor:
        return self.base.combine(probabilities)

    def fold(self) -> Prompt:
        return CorrectedPrompt(self.base.fold(), self.each)

    def size(self, embedding_size: float) -> float:
        return 1.0  # see Scaled

    @property
    def holds_examples(self) -> bool:
        return self.base.holds_examples

    def described(self) -> str:
        n = sum(len(fix.keys) for fix in self.each)
        fixes = "1 fix" if len(self.fixes) == 1 else f"{len(self.fixes)} fixes"
        return f"{self.base.described()}, and {fixes} ({n} components of {self.each[0].length} positions)"

    def spec(self) -> dict[str, Any]:
        return {"base": [self.base.kind, self.base.spec()], "fixes": len(self.fixes)}

    @classmethod
    def from_spec(cls, spec: dict[str, Any], tensors: dict[str, Tensor]) -> "CorrectedPrompt":
        kind, inner = spec["base"]
        own = _under(tensors, "base.")
        base = Prompt.rebuild(kind, inner, own)
        base.load_state_dict(own)  # bit by bit: some kinds are stored as products
        fixes = [_fix(_under(tensors, f"fixes.{number}.")) for number in range(int(spec["fixes"]))]
        return cls(base, fixes)


@torch.no_grad()
def queries_of(backbone: TextBackbone, rows: TokenBatch) -> Tensor:
    """(B, D) float32 queries: means of the final states of each row's tokens, without any prompt and any answer."""
    lengths = torch.tensor(rows.lengths)
    row_of = torch.repeat_interleave(torch.arange(len(lengths)), lengths)
    tree = 0 if rows.tail is None else len(rows.tail)
    behind = torch.tensor(rows.behind or [tree] * len(lengths))
    own = torch.arange(len(row_of)) < (lengths.cumsum(0) - behind)[row_of]
    asked = replace(rows, read=own.nonzero().squeeze(1), pool=row_of[own])
    return backbone.hidden(asked, Injection()).float()


def base_for(backbone: TextBackbone, base: Prompt, rows: TokenBatch) -> Injection:
    """What the base adds: keys and values where the model lets them be computed ahead, else what it is made of."""
    if backbone.causal and not base.reads_rows:
        return backbone.compile(base.injection())
    return base.for_rows(backbone, rows)


def _behind(base: KeyValue | None, added: KeyValue) -> KeyValue:
    """A row's own keys and values (B, h_kv, K, d_h) behind those that all rows share."""
    if base is None:
        return added
    batch = len(added[0])
    keys, values = (
        torch.cat([first.to(then).expand(batch, *first.shape[-3:]), then], dim=-2)
        for first, then in zip(base, added, strict=True)
    )
    return keys, values


def _under(tensors: Mapping[str, Tensor], start: str) -> dict[str, Tensor]:
    return {name.removeprefix(start): value for name, value in tensors.items() if name.startswith(start)}


def _fix(tensors: dict[str, Tensor]) -> Fix:
    pair = (Scaled.rebuilt(tensors, name) for name in ("prefix_keys", "prefix_values"))
    fix = Fix(Space(tensors["centre"], tensors["whitening"]), tensors["keys"], tensors["reach"], *pair)
    fix.load_state_dict(tensors)
    return fix
