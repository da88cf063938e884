"""CODA-Prompt (Smith et al., CVPR 2023): a prompt for each row, summed up from components by attended queries."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from cuetune.backbones.injection import Injection
from cuetune.errors import CuetuneError
from cuetune.prompts.pool import Grown, PoolPrompt, PoolShape, halves


class CodaPrompt(PoolPrompt):
    """p = sum_m alpha_m P_m with alpha_m = cos(q ∘ A_m, K_m), in every prompted layer with the same query q (eq. 3-5).

    Each layer e has components P (f, l, W), keys K (f, D) and attention vectors A (f, D); alpha is neither normalised
    nor cut. The first half of p are keys and the second values, put in front of the layer's own (prefix-tuning).
    components: how many each task brings. Those of earlier tasks are frozen; those of a new one begin orthonormal to
    each other and orthogonal to the earlier ones (`gram_schmidt`).
    length: l. orthogonality: weight of the paper's penalty mean((X Xᵀ - I)²) over P, K and A; released with 0.
    sizes: (E, 2) what keys and values are multiplied by, ones as published.
    Trains E · components · (l·W + 2·D) numbers for a task.
    """

    kind = "coda"

    def __init__(
        self,
        shape: PoolShape,
        length: int = 8,
        components: int = 10,
        orthogonality: float = 0.0,
        sizes: Tensor | None = None,
    ) -> None:
        super().__init__(shape)
        if components < 1 or length < 2 or length % 2:
            raise CuetuneError(
                f"{components} components of length {length}; give at least one and an even length: keys and values."
            )
        self.n_positions, self.per_task, self.orthogonality = length, components, orthogonality
        layers = len(shape.layers)
        self.components = Grown(layers, length * shape.width)
        self.keys, self.attention = Grown(layers, shape.query), Grown(layers, shape.query)
        self.sizes: Tensor
        self.register_buffer("sizes", torch.ones(layers, 2) if sizes is None else sizes.detach().float().clone())

    def grow(self, seed: int) -> None:
        super().grow(seed)
        generator = torch.Generator().manual_seed(seed)
        for part in (self.components, self.keys, self.attention):
            rows = [gram_schmidt(earlier, self.per_task, generator) for earlier in part().detach().cpu()]
            part.grow(torch.stack(rows))

    def weights(self, query: Tensor) -> Tensor:
        """alpha (E, B, f) of queries (B, D)."""
        return key_weights(query, self.attention(), self.keys())

    def of(self, query: Tensor) -> Injection:
        prompts = torch.bmm(self.weights(query), self.components())  # (E, B, l·W)
        keys, values = halves(prompts.unflatten(-1, (self.n_positions, self.shape.width)))
        sizes = self.sizes[:, :, None, None, None]
        return self.prefixes(keys * sizes[:, 0], values * sizes[:, 1])

    def penalty(self, query: Tensor) -> Tensor | None:
        if not self.orthogonality:
            return None
        parts = (self.components(), self.keys(), self.attention())
        return self.orthogonality * torch.stack([away_from_orthonormal(part) for part in parts]).sum()

    def spec(self) -> dict[str, Any]:
        own = {"length": self.n_positions, "components": self.per_task, "orthogonality": self.orthogonality}
        return {**super().spec(), **own}

    @classmethod
    def from_spec(cls, spec: dict[str, Any], tensors: dict[str, Tensor]) -> "CodaPrompt":
        return cls._rebuilt(spec, tensors)

    @classmethod
    def _rebuilt(cls, spec: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> "CodaPrompt":
        shape = PoolShape.from_spec(spec["shape"])
        prompt = cls(
            shape, int(spec["length"]), int(spec["components"]), float(spec["orthogonality"]), tensors["sizes"]
        )
        for name in ("components", "keys", "attention"):
            getattr(prompt, name).take(tensors, name)
        prompt.tasks = int(spec["tasks"])
        return prompt


def key_weights(query: Tensor, attention: Tensor, keys: Tensor) -> Tensor:
    """cos(q_b ∘ A_m, K_m) for queries (B, D) and A, K (E, f, D), as (E, B, f), by two matrix products.

    <q ∘ A, K> = <q, A ∘ K> and ||q ∘ A||² = <q², A²>, so that no tensor has B · f · D numbers.
    """
    products = query @ (attention * keys).transpose(-1, -2)
    lengths = (query.square() @ attention.square().transpose(-1, -2)).clamp_min(1e-24).sqrt()
    return products / (lengths * keys.norm(dim=-1)[:, None].clamp_min(1e-12))


def gram_schmidt(earlier: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """(count, R) rows of length one, orthogonal to each other and to all earlier rows (s, R), from normal numbers.

    The released code takes off what lies along each earlier row by itself, which is the same while those are orthogonal
    to each other; training ends that, and here the new rows stay orthogonal to what they span. Where s + count rows
    have no room in R numbers, the oldest are let go: no number of tasks is too large. Raises CuetuneError for more new
    rows than numbers.
    """
    width = earlier.shape[1]
    if count > width:
        raise CuetuneError(f"{count} components for vectors of {width} numbers; give at most so many.")
    latest = earlier[max(0, len(earlier) + count - width) :].double()
    drawn = torch.randn(count, width, generator=generator, dtype=torch.float64)
    # The columns of Q are what Gram-Schmidt makes of the rows one after the other, but for their signs.
    orthonormal, triangular = torch.linalg.qr(torch.cat([latest, drawn]).T)
    signs = torch.where(triangular.diagonal() < 0, -1.0, 1.0)
    return (orthonormal * signs).T[len(latest) :].float()


def away_from_orthonormal(vectors: Tensor) -> Tensor:
    """Sum over the layers of mean((X Xᵀ - I)²), X (f, R) being the rows of one (E, f, R)."""
    products = torch.bmm(vectors, vectors.transpose(1, 2))
    identity = torch.eye(products.shape[-1], device=products.device)
    return (products - identity).square().mean(dim=(1, 2)).sum()
