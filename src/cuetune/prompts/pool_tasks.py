"""One prompt for each task, chosen by the nearest key: the plainest way to forget little (Wang et al. 2022)."""

from typing import Any

import torch
from torch import Tensor

from cuetune.backbones.injection import Injection
from cuetune.prompts.pool import Grown, PoolPrompt, PoolShape, cosine, drawn, halves


class TaskPrompts(PoolPrompt):
    """Keys and values in each prompted layer, a set for each task; a row gets those of the task whose key is nearest.

    The key of a task is the mean of its rows' queries, taken when the task is closed; nothing of it is trained
    (S-Prompts, NeurIPS 2022, keep several means for a task). prompts: (E, tasks, l, W), half of them keys.
    """

    kind = "task-prompts"

    def __init__(self, shape: PoolShape, length: int = 20) -> None:
        super().__init__(shape)
        self.n_positions = length
        self.prompts = Grown(len(shape.layers), length, shape.width)
        self.keys: Tensor
        self.register_buffer("keys", torch.empty(0, shape.query))

    def grow(self, seed: int) -> None:
        super().grow(seed)
        self.prompts.grow(drawn((len(self.shape.layers), 1, self.n_positions, self.shape.width), seed))

    def finish(self, queries: Tensor) -> None:
        self.keys = torch.cat([self.keys, queries.mean(dim=0, keepdim=True).to(self.keys)])

    def of(self, query: Tensor) -> Injection:
        """Before the first task is closed there is no key to go by, and every row gets the only prompts."""
        if not len(self.keys):
            return self.of_current(query)
        nearest = cosine(query, self.keys[None])[0].argmax(dim=-1)
        return self.prefixes(*halves(self.prompts()[:, nearest]))

    def of_current(self, query: Tensor) -> Injection:
        return self.prefixes(*halves(self.prompts.current[:, -1:].expand(-1, len(query), -1, -1)))

    def spec(self) -> dict[str, Any]:
        return {**super().spec(), "length": self.n_positions}

    @classmethod
    def from_spec(cls, spec: dict[str, Any], tensors: dict[str, Tensor]) -> "TaskPrompts":
        prompt = cls(PoolShape.from_spec(spec["shape"]), int(spec["length"]))
        prompt.prompts.take(tensors, "prompts")
        prompt.keys = tensors["keys"].detach().clone().float()
        prompt.tasks = int(spec["tasks"])
        return prompt
