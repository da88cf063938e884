"""Soft prompts: P virtual tokens put before the text at the embedding layer (Lester et al., EMNLP 2021, section 2)."""

from typing import Any

import torch
from torch import Tensor, nn

from cuetune.backbones.injection import Injection
from cuetune.prompts.base import Prompt


class SoftPrompt(Prompt):
    """`P_e` in R^(P, d), the only thing that is trained: max over P_e of log Pr(Y | [P_e; X]).

    embeddings: (P, d), copied to float32.
    """

    kind = "soft"

    def __init__(self, embeddings: Tensor) -> None:
        super().__init__()
        self.embeddings = nn.Parameter(embeddings.detach().clone().to(torch.float32))

    def injection(self) -> Injection:
        return Injection(tokens={0: self.embeddings})

    def spec(self) -> dict[str, Any]:
        return {}

    @classmethod
    def from_spec(cls, spec: dict[str, Any], tensors: dict[str, Tensor]) -> "SoftPrompt":
        return cls(tensors["embeddings"])
