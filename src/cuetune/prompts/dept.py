"""DePT (Shi & Lipani, ICLR 2024): a short soft prompt, and low-rank offsets of the text itself."""

from typing import Any

import torch
from torch import Tensor, nn

from cuetune.backbones.injection import Injection
from cuetune.prompts.base import Prompt, affordable


class OffsetPrompt(Prompt):
    """A soft prompt (m, d), and s·A·B added to the embeddings of the text's first N tokens, by position.

    start: (m, d). reach: N. rank: r. alpha: s = alpha / sqrt(r). Trains m·d + (N + d)·r numbers. B starts at zero, so
    step 0 is the plain soft prompt. A and B learn at `OFFSET_RATE` of the prompt's rate, as the paper gives them a
    lower one. Padding gets no offset here, because nothing is padded.
    """

    kind = "dept"
    OFFSET_RATE = 0.1

    def __init__(self, start: Tensor, reach: int = 256, rank: int = 45, alpha: float = 8.0, seed: int = 0) -> None:
        super().__init__()
        self.alpha = alpha
        generator = torch.Generator().manual_seed(seed)
        self.start = nn.Parameter(start.detach().clone().to(torch.float32))
        bound = rank**-0.5  # Kaiming's uniform bound for r inputs
        self.left = nn.Parameter((torch.rand(reach, rank, generator=generator) * 2 - 1) * bound)
        self.right = nn.Parameter(torch.zeros(rank, start.shape[1]))

    def injection(self) -> Injection:
        scale = self.alpha / self.left.shape[1] ** 0.5
        return Injection(tokens={0: self.start}, offsets=scale * (self.left @ self.right))

    def groups(self) -> list[tuple[list[nn.Parameter], float]]:
        return [([self.start], 1.0), ([self.left, self.right], self.OFFSET_RATE)]

    def spec(self) -> dict[str, Any]:
        return {"reach": self.left.shape[0], "rank": self.left.shape[1], "alpha": self.alpha}

    @classmethod
    def from_spec(cls, spec: dict[str, Any], tensors: dict[str, Tensor]) -> "OffsetPrompt":
        reach, rank = tensors["left"].shape
        affordable(reach, tensors["start"].shape[1])
        prompt = cls(tensors["start"], reach, rank, float(spec["alpha"]))
        prompt.load_state_dict(tensors)
        return prompt
