"""Visual prompt tuning (VPT, Jia et al., ECCV 2022): virtual tokens between the [CLS] and the patches of an image."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from cuetune.backbones.injection import Injection
from cuetune.prompts.base import Prompt

# How much larger than its start a prompt is taken to be where its learning rate is stated. Of 1 and 3 the better one on
# the rows to choose on of both data sets in benchmarks/images.py.
GROWS = 3.0


class VisualPrompt(Prompt):
    """P virtual tokens before layer `first`, and new ones before each of the M - 1 layers above it.

    M = 1 at layer 0 is VPT-shallow (eq. 3): [x_1, Z_1, E_1] = L_1([x_0, P, E_0]). M = L is VPT-deep (eq. 4):
    [x_i, _, E_i] = L_i([x_(i-1), P_(i-1), E_(i-1)]), where what a layer makes of its virtual tokens is thrown away.
    states: (M, P, d). first: the lowest layer; above 0, the states of the images below it are the frozen model's own.
    """

    kind = "visual"

    def __init__(self, states: Tensor, first: int = 0) -> None:
        super().__init__()
        self.first = first
        self.states = nn.Parameter(states.detach().clone().to(torch.float32))

    @classmethod
    def begin(
        cls, layers: int, length: int, width: int, patch: tuple[int, int], first: int = 0, seed: int = 0
    ) -> "VisualPrompt":
        """The paper's start: uniform in ±v with v² = 6 / (3 · h · w + d), for patches of h x w pixels.

        layers, length, width: M, P and d.
        """
        generator = torch.Generator().manual_seed(seed)
        uniform = 2 * torch.rand(layers, length, width, generator=generator) - 1
        return cls(uniform * math.sqrt(6 / (3 * patch[0] * patch[1] + width)), first)

    def injection(self) -> Injection:
        return Injection(tokens={self.first + number: each for number, each in enumerate(self.states)})

    def size(self, embedding_size: float) -> float:
        """The paper's start is small beside the patches' states, and three times its size learns better."""
        return GROWS * float(self.states.detach().square().mean().sqrt())

    @property
    def frozen_below(self) -> int:
        return self.first

    def spec(self) -> dict[str, Any]:
        return {"first": self.first}

    @classmethod
    def from_spec(cls, spec: dict[str, Any], tensors: dict[str, Tensor]) -> "VisualPrompt":
        return cls(tensors["states"], int(spec["first"]))
