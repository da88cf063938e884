"""ATTEMPT (Asai et al., EMNLP 2022): each row mixes prompts of other tasks into the one that is tuned."""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cuetune.backbones.batches import TokenBatch
from cuetune.backbones.injection import Injection
from cuetune.backbones.text import TextBackbone
from cuetune.errors import CuetuneError
from cuetune.prompts.base import NETWORK_RATE, Prompt


class AttemptPrompt(Prompt):
    """P(x) = P + sum_j a_j(x) P_j over frozen source prompts P_j and P itself (section 3.2).

    a(x) = softmax_j(p_j · h / T), h = LayerNorm(W_up SiLU(W_down x̂)), x̂ = the largest of each number over the row's
    tokens, p_j = the largest of each over P_j's. start: P (l, d). sources: (J, l, d). bottleneck: r of W_down (r, d)
    and W_up (d, r). temperature: T; the published 2,087 is e·d, for T5's large embeddings, and here e·d times their
    size. Trains l·d + 2·r·d + 2·d numbers. It looks at each row, so it cannot be compiled: a row costs its prompt.
    """

    kind = "attempt"
    reads_rows = True

    def __init__(
        self, start: Tensor, sources: Tensor, bottleneck: int = 100, temperature: float | None = None, seed: int = 0
    ) -> None:
        super().__init__()
        if sources.dim() != 3 or sources.shape[1:] != start.shape:
            raise CuetuneError(
                f"source prompts of {tuple(sources.shape[1:])} numbers for a prompt of {tuple(start.shape)}; all must "
                "have the same length and width."
            )
        width = start.shape[1]
        self.prompt = nn.Parameter(start.detach().clone().to(torch.float32))
        self.sources: Tensor
        self.register_buffer("sources", sources.detach().clone().to(torch.float32))
        self.temperature = temperature or math.e * width * float(sources.float().pow(2).mean().sqrt())
        generator = torch.Generator().manual_seed(seed)
        bound = 1 / math.sqrt(width)
        self.down = nn.Parameter(bound * torch.randn(bottleneck, width, generator=generator))
        self.up = nn.Parameter(torch.randn(width, bottleneck, generator=generator) / math.sqrt(bottleneck))
        self.norm = nn.LayerNorm(width)

    def attention(self, text: Tensor) -> Tensor:
        """(B, J + 1) how much each row takes of every source and, last, of the prompt itself. text: x̂ (B, d)."""
        hidden = self.norm(F.silu(text @ self.down.T) @ self.up.T)
        each = torch.cat([self.sources, self.prompt[None]]).amax(dim=1)
        return (hidden @ each.T / self.temperature).softmax(dim=-1)

    def mixed(self, weights: Tensor) -> Tensor:
        """(B, l, d) the prompts of rows that attend like this."""
        whole = torch.cat([self.sources, self.prompt[None]])
        return self.prompt + torch.einsum("bj,jld->bld", weights, whole)

    def injection(self) -> Injection:
        """The prompt of a row that attends to all alike: what it is like, for whoever only wants its shape."""
        n = len(self.sources) + 1
        return Injection(tokens={0: self.mixed(self.prompt.new_full((1, n), 1 / n))[0]})

    def for_rows(self, backbone: TextBackbone, rows: TokenBatch) -> Injection:
        texts = backbone.embed(rows.ids.to(backbone.device)).split(list(rows.lengths))
        largest = [text[:own].amax(dim=0) for text, own in zip(texts, rows.own_lengths, strict=True)]
        return Injection(tokens={0: self.mixed(self.attention(torch.stack(largest).float()))})

    def groups(self) -> list[tuple[list[nn.Parameter], float]]:
        network = [self.down, self.up, *self.norm.parameters()]
        return [([self.prompt], 1.0), (network, NETWORK_RATE)]

    def spec(self) -> dict[str, Any]:
        return {"bottleneck": self.down.shape[0], "temperature": self.temperature}

    @classmethod
    def from_spec(cls, spec: dict[str, Any], tensors: dict[str, Tensor]) -> "AttemptPrompt":
        prompt = cls(tensors["prompt"], tensors["sources"], len(tensors["down"]), float(spec["temperature"]))
        prompt.load_state_dict(tensors)
        return prompt


def attempt_from(start: Tensor, sources: Sequence[Tensor], **how: Any) -> AttemptPrompt:
    """An ATTEMPT prompt on sources of any length, each cut or repeated to that of `start`."""
    length = len(start)
    fitted = [source.repeat(-(-length // len(source)), 1)[:length] for source in sources]
    return AttemptPrompt(start, torch.stack(fitted).to(start.device), **how)
