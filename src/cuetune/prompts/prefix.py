"""Prefix-tuning: learned keys and values before the text in every layer's attention (Li & Liang, ACL 2021, eq. 3).

`PrefixPrompt` learns them directly, which is also the modern form (a cartridge). `PrefixNetwork` learns them through
the paper's MLP, which is dropped after training: what it puts out is a `PrefixPrompt`.
"""

from typing import Any

import torch
from torch import Tensor, nn

from cuetune.backbones.injection import Injection
from cuetune.prompts.base import NETWORK_RATE, Prompt, affordable
from cuetune.prompts.scaled import Scaled


class PrefixPrompt(Prompt):
    """Keys and values of P positions for each layer from `first` on, the only things that are trained.

    keys, values: (L - first, h_kv, P, d_h), keys as attention sees them (rotated where the model rotates keys).
    first: the lowest layer with a prefix; above 0 it is a late prefix.
    """

    kind = "prefix"

    def __init__(self, keys: Tensor, values: Tensor, first: int = 0) -> None:
        super().__init__()
        self.first = first
        self.keys, self.values = Scaled(keys), Scaled(values)

    def injection(self) -> Injection:
        return Injection(kv=layers_of(self.keys(), self.values(), self.first))

    def size(self, embedding_size: float) -> float:
        return 1.0  # see Scaled

    def spec(self) -> dict[str, Any]:
        return {"first": self.first}

    @classmethod
    def from_spec(cls, spec: dict[str, Any], tensors: dict[str, Tensor]) -> "PrefixPrompt":
        return cls(Scaled.rebuilt(tensors, "keys"), Scaled.rebuilt(tensors, "values"), int(spec["first"]))


def layers_of(keys: Tensor, values: Tensor, first: int = 0) -> dict[int, tuple[Tensor, Tensor]]:
    """Stacked keys and values (L, h_kv, P, d_h) as an injection's `kv`, from layer `first` on."""
    return {first + layer: pair for layer, pair in enumerate(zip(keys, values, strict=True))}


class PrefixNetwork(Prompt):
    """The paper's reparametrisation, for training only: P_theta[i] = MLP(P'_theta[i]), one hidden layer with tanh.

    start: (P, d) first value of P'_theta. hidden: k, the width of the hidden layer (the paper: 512 or 800).
    layers, heads, size: L, h_kv and d_h of the backbone. The output is (P, 2 · L · h_kv · d_h): for each layer its key,
    then its value.
    """

    kind = "prefix-mlp"

    def __init__(self, start: Tensor, layers: int, heads: int, size: int, hidden: int = 512) -> None:
        super().__init__()
        self.shape = (layers, heads, size)
        self.start = nn.Parameter(start.detach().clone().to(torch.float32))
        width = start.shape[1]
        self.network = nn.Sequential(nn.Linear(width, hidden), nn.Tanh(), nn.Linear(hidden, 2 * layers * heads * size))

    def keys_values(self) -> tuple[Tensor, Tensor]:
        """Keys and values, (L, h_kv, P, d_h) each."""
        layers, heads, size = self.shape
        both = self.network(self.start).view(-1, layers, 2, heads, size).permute(2, 1, 3, 0, 4)
        return both[0], both[1]

    def injection(self) -> Injection:
        return Injection(kv=layers_of(*self.keys_values()))

    def groups(self) -> list[tuple[list[nn.Parameter], float]]:
        return [([self.start], 1.0), (list(self.network.parameters()), NETWORK_RATE)]

    def fold(self) -> Prompt:
        with torch.no_grad():
            return PrefixPrompt(*self.keys_values())

    @torch.enable_grad()
    def fit(self, keys: Tensor, values: Tensor, steps: int = 500, rate: float = 1e-3) -> float:
        """Bring the output close to these keys and values before training (the paper's start from real words).

        Returns the mean squared error that is left, relative to the targets' mean square.
        """
        optimizer = torch.optim.Adam(self.parameters(), lr=rate)
        scale = torch.stack([keys, values]).square().mean()
        for _ in range(steps):
            ours = self.keys_values()
            error = sum((mine - theirs).square().mean() for mine, theirs in zip(ours, (keys, values), strict=True))
            optimizer.zero_grad(set_to_none=True)
            (error / scale).backward()  # type: ignore[union-attr]
            optimizer.step()
        return float(error.detach() / (2 * scale))  # type: ignore[union-attr]

    def spec(self) -> dict[str, Any]:
        layers, heads, size = self.shape
        return {"layers": layers, "heads": heads, "size": size, "hidden": self.network[0].out_features}

    @classmethod
    def from_spec(cls, spec: dict[str, Any], tensors: dict[str, Tensor]) -> "PrefixNetwork":
        hidden = len(tensors["network.0.weight"])
        affordable(hidden, len(tensors["start"]))
        affordable(2 * spec["layers"] * spec["heads"] * spec["size"], max(hidden, len(tensors["start"])))
        prompt = cls(tensors["start"], spec["layers"], spec["heads"], spec["size"], hidden)
        prompt.load_state_dict(tensors)
        return prompt
