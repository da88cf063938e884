"""Hard prompts: words before the text. Instruction and demonstrations, embedded by the backbone's own table."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from cuetune.backbones.injection import Injection
from cuetune.prompts.base import Prompt


class HardPrompt(Prompt):
    """Token ids and their embedding rows, nothing learned.

    ids: the P tokens of instruction and demonstrations.
    embeddings: their rows of the backbone's embedding table, (P, d).
    """

    kind = "hard"

    def __init__(self, ids: Sequence[int], embeddings: Tensor) -> None:
        super().__init__()
        self.ids = list(ids)
        self.embeddings: Tensor
        self.register_buffer("embeddings", embeddings.detach().clone().to(torch.float32))

    def injection(self) -> Injection:
        return Injection(tokens={0: self.embeddings})

    @property
    def holds_examples(self) -> bool:
        return True

    def spec(self) -> dict[str, Any]:
        return {"ids": self.ids}

    @classmethod
    def from_spec(cls, spec: dict[str, Any], tensors: dict[str, Tensor]) -> "HardPrompt":
        return cls(spec["ids"], tensors["embeddings"])
