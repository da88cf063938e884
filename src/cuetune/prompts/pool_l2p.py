"""Learning to Prompt (L2P, Wang et al., CVPR 2022): a row takes the prompts of a pool whose keys are nearest."""

from abc import abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from cuetune.backbones.injection import Injection
from cuetune.errors import CuetuneError
from cuetune.prompts.pool import PoolPrompt, PoolShape, cosine, drawn, halves


class SelectedPrompt(PoolPrompt):
    """The `top` prompts of a row are those with the largest cos(q, k_m) (eq. 3); keys are pulled to the rows (eq. 5).

    prompts: (E, M, l, W). keys: (E, M, D), in the backbone's layers each its own. key_loss_weight: weight of the mean
    over the rows of sum over their chosen keys of 1 - cos(q, k). All tasks share all M prompts, and nothing is frozen.
    """

    def __init__(
        self, shape: PoolShape, prompts: Tensor, keys: Tensor, top: int = 5, key_loss_weight: float = 0.5
    ) -> None:
        super().__init__(shape)
        if not 1 <= top <= prompts.shape[1]:
            raise CuetuneError(f"the {top} nearest of {prompts.shape[1]} prompts; give a number from 1 to that.")
        self.top, self.key_loss_weight = top, key_loss_weight
        self.prompts = nn.Parameter(prompts.detach().clone().float())
        self.keys = nn.Parameter(keys.detach().clone().float())

    def chosen(self, query: Tensor) -> Tensor:
        """(E, B, n, l, W) the prompts of rows with these queries (B, D), the nearest first."""
        numbers = cosine(query, self.keys.detach()).topk(self.top, dim=-1).indices
        return torch.stack([prompts[each] for prompts, each in zip(self.prompts, numbers, strict=True)])

    def penalty(self, query: Tensor) -> Tensor | None:
        nearest = cosine(query, self.keys).topk(self.top, dim=-1).values
        return self.key_loss_weight * (1 - nearest).sum(dim=(0, 2)).mean()

    @abstractmethod
    def of(self, query: Tensor) -> Injection: ...

    def spec(self) -> dict[str, Any]:
        return {**super().spec(), "top": self.top, "pull": self.key_loss_weight}

    @classmethod
    def from_spec(cls, spec: dict[str, Any], tensors: dict[str, Tensor]) -> "SelectedPrompt":
        shape = PoolShape.from_spec(spec["shape"])
        prompt = cls(shape, tensors["prompts"], tensors["keys"], int(spec["top"]), float(spec["pull"]))
        prompt.tasks = int(spec["tasks"])
        return prompt


class L2PPrompt(SelectedPrompt):
    """L2P as published: the chosen prompts are virtual tokens at the embedding layer, W = d.

    The paper's head reads the mean of what the model makes of these tokens; here as everywhere it reads the row's own
    state, and never one of the prompt.
    """

    kind: ClassVar[str] = "l2p"

    @classmethod
    def begin(
        cls, shape: PoolShape, width: int, pool: int, length: int, top: int, key_loss_weight: float = 0.5, seed: int = 0
    ) -> "L2PPrompt":
        """Uniform numbers in [0, 1), as released. width: d of a virtual token."""
        prompts, keys = drawn((1, pool, length, width), seed), drawn((1, pool, shape.query), seed + 1)
        return cls(shape, prompts, keys, top, key_loss_weight)

    def of(self, query: Tensor) -> Injection:
        return Injection(tokens={0: self.chosen(query)[0].flatten(1, 2)})


class L2PPrefixPrompt(SelectedPrompt):
    """L2P++ (CODA-Prompt's baseline): a chosen prompt is l/2 keys and l/2 values, at one layer or ("deep") several."""

    kind: ClassVar[str] = "l2p-prefix"

    @classmethod
    def begin(
        cls, shape: PoolShape, pool: int, length: int, top: int, key_loss_weight: float = 0.5, seed: int = 0
    ) -> "L2PPrefixPrompt":
        """Uniform numbers in [0, 1), as released."""
        layers = len(shape.layers)
        prompts, keys = drawn((layers, pool, length, shape.width), seed), drawn((layers, pool, shape.query), seed + 1)
        return cls(shape, prompts, keys, top, key_loss_weight)

    def of(self, query: Tensor) -> Injection:
        keys, values = halves(self.chosen(query))
        return self.prefixes(keys.flatten(2, 3), values.flatten(2, 3))
