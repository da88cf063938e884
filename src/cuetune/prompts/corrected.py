"""A prompt and the corrections that were made to it: each row gets what its fixes hold for rows like it, or nothing.

Components, keys and weights are those of CODA-Prompt (Smith et al., CVPR 2023, section 4), with a threshold: where rows
are unlike those that were corrected, every weight is zero and the answer is the former one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cuetune.backbones.injection import Injection, KeyValue
from cuetune.backbones.packing import Rows
from cuetune.backbones.text import TextBackbone
from cuetune.errors import CuetuneError
from cuetune.prompts.base import Prompt
from cuetune.prompts.prefix import layers_of
from cuetune.prompts.scaled import Scaled


class Fix(nn.Module):
    """The components of one fix: α_m(q) = clamp((cos(q, K_m) - τ_m) / (σ_m - τ_m), 0, 1), p = sum_m α_m P_m.

    keys: K (M, R), in the space of whitened queries. reach: τ and σ (M, 2): cosines from which a component begins to
    act, and acts fully. prefix_keys, prefix_values: P (L - first, M, h_kv, K, d_h), K positions in each upper layer.
    """

    def __init__(self, keys: Tensor, reach: Tensor, prefix_keys: Tensor, prefix_values: Tensor) -> None:
        super().__init__()
        n = len(keys)
        shapes = keys.dim() == 2 and prefix_keys.dim() == 5 and prefix_keys.shape == prefix_values.shape
        if not shapes or reach.shape != (n, 2) or prefix_keys.shape[1] != n or bool((reach[:, 0] >= reach[:, 1]).any()):
            raise CuetuneError("the keys, thresholds and components of a fix do not fit together.")
        self.keys: Tensor
        self.reach: Tensor
        self.register_buffer("keys", keys.detach().clone().float())
        self.register_buffer("reach", reach.detach().clone().float())
        self.prefix_keys, self.prefix_values = Scaled(prefix_keys), Scaled(prefix_values)

    @property
    def length(self) -> int:
        """K, the positions that its components take."""
        return self.prefix_keys.values.shape[3]

    def weights(self, queries: Tensor) -> Tensor:
        """α (B, M) in [0, 1] for whitened queries (B, R)."""
        low, high = self.reach.T
        return ((cosines(queries, self.keys) - low) / (high - low)).clamp(0, 1)

    def added(self, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values (L - first, B, h_kv, K, d_h) of rows with these weights (B, M)."""
        both = (self.prefix_keys(), self.prefix_values())
        keys, values = (torch.einsum("bm,lmhkd->lbhkd", weights, part) for part in both)
        return keys, values


def cosines(queries: Tensor, keys: Tensor) -> Tensor:
    """(B, M) cosines of queries (B, R) with keys (M, R)."""
    return F.normalize(queries, dim=-1) @ F.normalize(keys, dim=-1).T


class CorrectedPrompt(Prompt):
    """The prompt `base`, which stays as it is, and fixes made one after another, none of which changes another.

    The query q of a row is the mean of the bare model's final states over its tokens. centre (D,) and whitening (R, D):
    q ↦ W (q - μ) makes queries comparable, which otherwise all point the same way. The weights of all fixes'
    components add up to 1 at most. Their K positions stand behind the base's, from layer `first` on; a row whose
    weights are all zero has none.
    Raises CuetuneError for a base that chooses words for each row, votes, or is corrected already.
    """

    kind = "corrected"
    reads_rows = True

    def __init__(self, base: Prompt, centre: Tensor, whitening: Tensor, fixes: Sequence[Fix], first: int = 0) -> None:
        super().__init__()
        if len(base.members) > 1 or base.kind in ("corrected", "nearest"):
            raise CuetuneError(f"a {base.kind!r} prompt takes no corrections; correct a prompt of another kind.")
        fits = centre.dim() == 1 and whitening.dim() == 2 and whitening.shape[1] == len(centre)
        shapes = {(fix.keys.shape[1], *fix.prefix_keys.values.shape[::2]) for fix in fixes}
        if not fits or len(shapes) != 1 or next(iter(shapes))[0] != len(whitening):
            raise CuetuneError("the fixes of a corrected prompt do not fit together.")
        self.base, self.fixes, self.first = base, nn.ModuleList(fixes), first
        self.centre: Tensor
        self.whitening: Tensor
        self.register_buffer("centre", centre.detach().clone().float())
        self.register_buffer("whitening", whitening.detach().clone().float())

    @property
    def former(self) -> Prompt:
        """The prompt before its last fix."""
        if len(self.fixes) == 1:
            return self.base
        return CorrectedPrompt(self.base, self.centre, self.whitening, self.each[:-1], self.first)

    @property
    def each(self) -> list[Fix]:
        return list(self.fixes)  # type: ignore[arg-type]

    def weights(self, backbone: TextBackbone, rows: Rows) -> list[Tensor]:
        """α (B, M) of each fix for these rows."""
        return self.weights_at(queries_of(backbone, rows))

    def weights_at(self, queries: Tensor) -> list[Tensor]:
        """α (B, M) of each fix for rows with these queries (B, D); more than 1 in all is scaled to 1."""
        whitened = F.linear(queries - self.centre, self.whitening)
        found = [fix.weights(whitened) for fix in self.each]
        total = torch.cat(found, dim=1).sum(dim=1, keepdim=True).clamp_min(1.0)
        return [weights / total for weights in found]

    def with_weights(self, base: Injection, weights: Sequence[Tensor]) -> Injection:
        """What rows with these weights, (B, M) for each fix, get beside what the base adds."""
        parts = [fix.added(own) for fix, own in zip(self.each, weights, strict=True)]
        keys, values = (torch.stack(part).sum(dim=0) for part in zip(*parts, strict=True))
        reached = torch.cat(list(weights), dim=1).amax(dim=1) > 0
        n_base = base.n_kv
        lengths = n_base + reached.long() * self.each[0].length
        own = layers_of(keys, values, self.first)
        kv = {**base.kv, **{layer: _behind(base.kv.get(layer), pair) for layer, pair in own.items()}}
        return Injection(base.tokens, kv, lengths, base.offsets)

    def for_rows(self, backbone: TextBackbone, rows: Rows) -> Injection:
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
        return CorrectedPrompt(self.base.fold(), self.centre, self.whitening, self.each, self.first)

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
        return {"base": [self.base.kind, self.base.spec()], "fixes": len(self.fixes), "first": self.first}

    @classmethod
    def from_spec(cls, spec: dict[str, Any], tensors: dict[str, Tensor]) -> "CorrectedPrompt":
        kind, inner = spec["base"]
        own = _under(tensors, "base.")
        base = Prompt.rebuild(kind, inner, own)
        base.load_state_dict(own)  # bit by bit: some kinds are stored as products
        fixes = [_fix(_under(tensors, f"fixes.{number}.")) for number in range(int(spec["fixes"]))]
        return cls(base, tensors["centre"], tensors["whitening"], fixes, int(spec["first"]))


@torch.no_grad()
def queries_of(backbone: TextBackbone, rows: Rows) -> Tensor:
    """(B, D) float32 queries: means of the final states of each row's tokens, without any prompt and any answer."""
    lengths = torch.tensor(rows.lengths)
    row_of = torch.repeat_interleave(torch.arange(len(lengths)), lengths)
    behind = 0 if rows.tail is None else len(rows.tail)
    own = torch.arange(len(row_of)) < (lengths.cumsum(0) - behind)[row_of]
    asked = replace(rows, read=own.nonzero().squeeze(1), pool=row_of[own])
    return backbone.hidden(asked, Injection()).float()


def base_for(backbone: TextBackbone, base: Prompt, rows: Rows) -> Injection:
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
    fix = Fix(tensors["keys"], tensors["reach"], *pair)
    fix.load_state_dict(tensors)
    return fix
