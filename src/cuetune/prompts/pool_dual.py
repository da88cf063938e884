"""DualPrompt (Wang et al., ECCV 2022): a prompt that all tasks share, and one for each task, found by its key."""

from typing import Any

import torch
from torch import Tensor, nn

from cuetune.backbones.injection import Injection
from cuetune.errors import CuetuneError
from cuetune.prompts.pool import Grown, PoolPrompt, PoolShape, cosine, drawn, halves


class DualPrompt(PoolPrompt):
    """G-prompts g_e at the first layers, and at the others E-prompts e_(e,t) with keys k_(e,t) (section 4.1).

    While task t is learned its rows get e_t, and its keys are pulled to them: `key_loss_weight` · (1 - cos(q, k_t))
    (eq. 6); afterwards e_t and k_t are frozen and a row gets the E-prompts of the nearest keys. g is trained by all
    tasks. general: (G, l_g, W). shape.layers: the first G have the G-prompts, the others the E-prompts of `length` l.
    """

    kind = "dual"

    def __init__(self, shape: PoolShape, general: Tensor, length: int = 20, key_loss_weight: float = 1.0) -> None:
        super().__init__(shape)
        self.n_general, self.n_positions, self.key_loss_weight = len(general), length, key_loss_weight
        experts = len(shape.layers) - len(general)
        if experts < 1:
            raise CuetuneError(
                f"DualPrompt needs a layer for the tasks' own prompts behind {len(general)} for the shared one, but "
                f"has {len(shape.layers)}; give more layers."
            )
        self.general = nn.Parameter(general.detach().clone().float())
        self.experts, self.keys = Grown(experts, length, shape.width), Grown(experts, shape.query)

    @classmethod
    def begin(
        cls,
        shape: PoolShape,
        general: int = 2,
        shared: int = 6,
        length: int = 20,
        key_loss_weight: float = 1.0,
        seed: int = 0,
    ) -> "DualPrompt":
        """Uniform numbers in [0, 1), as in CODA-Prompt's version. general: layers of the shared prompt; shared: l_g."""
        return cls(shape, drawn((general, shared, shape.width), seed), length, key_loss_weight)

    def grow(self, seed: int) -> None:
        super().grow(seed)
        layers = len(self.shape.layers) - self.n_general
        self.experts.grow(drawn((layers, 1, self.n_positions, self.shape.width), seed))
        self.keys.grow(drawn((layers, 1, self.shape.query), seed + 1))

    def of(self, query: Tensor) -> Injection:
        nearest = cosine(query, self.keys()).argmax(dim=-1)  # (E, B)
        experts = [prompts[task] for prompts, task in zip(self.experts(), nearest, strict=True)]
        return self._joined(torch.stack(experts))

    def of_current(self, query: Tensor) -> Injection:
        current = self.experts.current[:, -1:].expand(-1, len(query), -1, -1)
        return self._joined(current)

    def _joined(self, experts: Tensor) -> Injection:
        """The G-prompts beside these E-prompts (E, B, l, W)."""
        layers = self.shape.layers
        general = self.general[:, None].expand(-1, experts.shape[1], -1, -1)
        first = self.prefixes(*halves(general), layers[: self.n_general])
        return Injection(kv={**first.kv, **self.prefixes(*halves(experts), layers[self.n_general :]).kv})

    def penalty(self, query: Tensor) -> Tensor | None:
        return self.key_loss_weight * (1 - cosine(query, self.keys.current)).sum(dim=(0, 2)).mean()

    def spec(self) -> dict[str, Any]:
        return {**super().spec(), "length": self.n_positions, "pull": self.key_loss_weight}

    @classmethod
    def from_spec(cls, spec: dict[str, Any], tensors: dict[str, Tensor]) -> "DualPrompt":
        shape = PoolShape.from_spec(spec["shape"])
        prompt = cls(shape, tensors["general"], int(spec["length"]), float(spec["pull"]))
        prompt.experts.take(tensors, "experts")
        prompt.keys.take(tensors, "keys")
        prompt.tasks = int(spec["tasks"])
        return prompt
