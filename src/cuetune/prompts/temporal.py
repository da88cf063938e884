"""A learned temporal prompt: beside virtual tokens that all frames of a video share, each frame has some of its own."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from cuetune.backbones.injection import Injection
from cuetune.prompts.base import Prompt, affordable


class TemporalPrompt(Prompt):
    """[S_l ; O_(l,t)] before layer l for frame t: P shared virtual tokens and Q that know which frame it is.

    The frozen model sees each frame alone; through O it can be made to look at the first frame for something else than
    at the last. shared: (M, P, d). own: (M, T, Q, d). first: the lowest of the M layers.
    """

    kind = "temporal"

    def __init__(self, shared: Tensor, own: Tensor, first: int = 0) -> None:
        super().__init__()
        self.first = first
        self.shared = nn.Parameter(shared.detach().clone().to(torch.float32))
        self.own = nn.Parameter(own.detach().clone().to(torch.float32))

    @classmethod
    def begin(
        cls, layers: int, length: int, own: int, frames: int, width: int, patch: tuple[int, int], first: int, seed: int
    ) -> "TemporalPrompt":
        """VPT's start (Jia et al. 2022), uniform in ±v with v² = 6 / (3 · h · w + d); each frame begins alike.

        layers, length, own, frames, width: M, P, Q, T and d.
        """
        generator = torch.Generator().manual_seed(seed)
        reach = math.sqrt(6 / (3 * patch[0] * patch[1] + width))
        uniform = reach * (2 * torch.rand(layers, length + own, width, generator=generator) - 1)
        return cls(uniform[:, :length], uniform[:, None, length:].expand(-1, frames, -1, -1), first)

    def injection(self) -> Injection:
        frames = self.own.shape[1]
        tokens = torch.cat([self.shared[:, None].expand(-1, frames, -1, -1), self.own], dim=2)
        return Injection(tokens={self.first + number: each for number, each in enumerate(tokens)})

    def size(self, embedding_size: float) -> float:
        return float(self.shared.detach().square().mean().sqrt())

    @property
    def frozen_below(self) -> int:
        return self.first

    def described(self) -> str:
        own = self.own.shape[2]
        return f"{super().described()}, {own} of them each frame's own"

    def spec(self) -> dict[str, Any]:
        return {"first": self.first}

    @classmethod
    def from_spec(cls, spec: dict[str, Any], tensors: dict[str, Tensor]) -> "TemporalPrompt":
        layers, length, width = tensors["shared"].shape
        affordable(layers, tensors["own"].shape[1], length, width)
        return cls(tensors["shared"], tensors["own"], int(spec["first"]))
