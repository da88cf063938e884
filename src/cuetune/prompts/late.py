"""Late prompts (Late Prompt Tuning, Liu et al., Findings of EMNLP 2022): virtual tokens that enter at layer k.

The frozen states below k do not depend on the prompt. They are computed once per example and kept, so a step of
training costs only the layers above.
"""

from typing import Any

from torch import Tensor

from cuetune.backbones.injection import Injection
from cuetune.prompts.base import Prompt
from cuetune.prompts.scaled import Scaled


class LatePrompt(Prompt):
    """P virtual token states at layer k, and new ones at each of the M - 1 layers above it (deep, as in VPT-deep).

    states: (M, P, d); M = 1 is a prompt at layer k alone. layer: k, counted from 0.
    """

    kind = "late"

    def __init__(self, states: Tensor, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.states = Scaled(states)

    def injection(self) -> Injection:
        return Injection(tokens={self.layer + number: each for number, each in enumerate(self.states())})

    def size(self, embedding_size: float) -> float:
        return 1.0  # see Scaled

    @property
    def frozen_below(self) -> int:
        return self.layer

    def spec(self) -> dict[str, Any]:
        return {"layer": self.layer}

    @classmethod
    def from_spec(cls, spec: dict[str, Any], tensors: dict[str, Tensor]) -> "LatePrompt":
        return cls(Scaled.rebuilt(tensors, "states"), int(spec["layer"]))
