"""Residual prompt tuning (Razdaibiedina et al., Findings of ACL 2023): a soft prompt with a shared residual network."""

from typing import Any

import torch
from torch import Tensor, nn

from cuetune.backbones.injection import Injection
from cuetune.prompts.base import NETWORK_RATE, Prompt, affordable
from cuetune.prompts.soft import SoftPrompt


class ResidualPrompt(Prompt):
    """P'_i = P_i + LayerNorm(W_up ReLU(W_down P_i)), the network shared by all P rows and dropped after training.

    start: (P, d). bottleneck: m. Trains 2·d·m + 2·d + d·P numbers. The layer norm's gain starts at zero, so that step 0
    is exactly `start`.
    """

    kind = "residual"

    def __init__(self, start: Tensor, bottleneck: int = 128) -> None:
        super().__init__()
        width = start.shape[1]
        self.start = nn.Parameter(start.detach().clone().to(torch.float32))
        self.down = nn.Linear(width, bottleneck, bias=False)
        self.up = nn.Linear(bottleneck, width, bias=False)
        self.norm = nn.LayerNorm(width)
        nn.init.zeros_(self.norm.weight)

    def embeddings(self) -> Tensor:
        """(P, d)."""
        return self.start + self.norm(self.up(torch.relu(self.down(self.start))))

    def injection(self) -> Injection:
        return Injection(tokens={0: self.embeddings()})

    def groups(self) -> list[tuple[list[nn.Parameter], float]]:
        network = [parameter for name, parameter in self.named_parameters() if name != "start"]
        return [([self.start], 1.0), (network, NETWORK_RATE)]

    def fold(self) -> Prompt:
        return SoftPrompt(self.embeddings())

    def spec(self) -> dict[str, Any]:
        return {"bottleneck": self.down.out_features}

    @classmethod
    def from_spec(cls, spec: dict[str, Any], tensors: dict[str, Tensor]) -> "ResidualPrompt":
        bottleneck = len(tensors["down.weight"])
        affordable(len(tensors["start"]), bottleneck)
        prompt = cls(tensors["start"], bottleneck)
        prompt.load_state_dict(tensors)
        return prompt
