"""Soft prompts of few numbers: decomposed (DPT, Xiao et al. 2023) and ultra-low-dimensional (ULPT, 2025).

Their small tensors are what is stored; the (P, d) embeddings are made from them.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cuetune.backbones.injection import Injection
from cuetune.prompts.base import Prompt, affordable


class DecomposedPrompt(Prompt):
    """P = A B with A (P, r) and B (r, d): P·r + r·d trained numbers.

    start: (P, d); A and B begin as its best approximation of rank r (the paper begins at random).
    """

    kind = "decomposed"

    def __init__(self, start: Tensor, rank: int = 10) -> None:
        super().__init__()
        rank = min(rank, *start.shape)
        u, s, v = torch.linalg.svd(start.detach().float(), full_matrices=False)
        root = s[:rank].sqrt()
        self.left = nn.Parameter(u[:, :rank] * root)
        self.right = nn.Parameter(root[:, None] * v[:rank])

    def injection(self) -> Injection:
        return Injection(tokens={0: self.left @ self.right})

    def spec(self) -> dict[str, Any]:
        return {"rank": self.left.shape[1]}

    @classmethod
    def from_spec(cls, spec: dict[str, Any], tensors: dict[str, Tensor]) -> "DecomposedPrompt":
        left, right = tensors["left"].float(), tensors["right"].float()
        affordable(len(left), right.shape[1])
        prompt = cls(torch.zeros(1, 1), 1)  # its start is not needed any more
        prompt.left, prompt.right = nn.Parameter(left), nn.Parameter(right)
        return prompt


class UltraLowPrompt(Prompt):
    """P[i, j] = (sum_k Z[i, k] R[k, j]) s_j + b_j with R (r, d) random and frozen: P·r + 2·d trained numbers.

    R is made from `seed` and never stored. start: (P, d); b begins as its mean row, Z as the least-squares fit of what
    is left.
    """

    kind = "ultra-low"

    def __init__(self, start: Tensor, rank: int = 64, seed: int = 0) -> None:
        super().__init__()
        self.seed = seed
        self.projection: Tensor
        self.register_buffer("projection", random_projection(rank, start.shape[1], seed), persistent=False)
        begin = start.detach().cpu().double()
        mean = begin.mean(0)
        fit = (begin - mean) @ torch.linalg.pinv(self.projection.double())
        self.codes = nn.Parameter(fit.float())
        self.scale = nn.Parameter(torch.ones(start.shape[1]))
        self.shift = nn.Parameter(mean.float())

    def injection(self) -> Injection:
        return Injection(tokens={0: (self.codes @ self.projection) * self.scale + self.shift})

    def spec(self) -> dict[str, Any]:
        return {"rank": self.codes.shape[1], "seed": self.seed}

    @classmethod
    def from_spec(cls, spec: dict[str, Any], tensors: dict[str, Tensor]) -> "UltraLowPrompt":
        codes, width = tensors["codes"].float(), len(tensors["shift"])
        affordable(codes.shape[1], width)
        affordable(len(codes), width)
        prompt = cls(torch.zeros(1, width), 1, spec["seed"])  # its start is not needed any more
        prompt.projection = random_projection(codes.shape[1], width, spec["seed"])
        prompt.codes = nn.Parameter(codes)
        prompt.load_state_dict(tensors)
        return prompt


def random_projection(rank: int, width: int, seed: int) -> Tensor:
    """R (r, d), normal with variance 1 / r. numpy's RandomState gives the same numbers in every version, for good."""
    numbers = np.random.RandomState(seed).standard_normal((rank, width)) / rank**0.5
    return torch.from_numpy(numbers).float()
