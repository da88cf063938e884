"""Prompts made for each row out of a pool, by the row's query: what continual methods have in common.

A pool begins empty. `grow` brings in what one more task needs, without a number of tasks being said beforehand, and
`finish` closes the task. The query is the frozen model's own state of a row (`prompts.query`); it never changes.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from cuetune.backbones.injection import Injection
from cuetune.errors import CuetuneError
from cuetune.prompts.base import Prompt, affordable
from cuetune.prompts.query import query_of

LAYERS = (0, 1, 2, 3, 4)  # "layers 1 to 5" of the papers
# The papers train every pool at 1e-3. The loop states a rate relative to this size (`Settings.resolved`).
SIZE = 1e-3 / 0.075


@dataclass(frozen=True)
class PoolShape:
    """What a pool must fit.

    query: D of a query. heads, size: h_kv and d_h of keys and values. layers: those with prompts.
    """

    query: int
    heads: int
    size: int
    layers: tuple[int, ...]

    @classmethod
    def of(cls, backbone: Any, layers: Sequence[int] = LAYERS) -> "PoolShape":
        """That of a backbone, in those of the layers that it has. Raises CuetuneError when it has none of them."""
        depth, heads, size = backbone.kv_shape
        found = tuple(sorted({layer for layer in layers if 0 <= layer < depth}))
        if not depth:
            raise CuetuneError(f"{backbone.identity.name} has no layers for a pool of prompts; choose another method.")
        if not found:
            raise CuetuneError(f"layers {list(layers)}: {backbone.identity.name} has layers 0 to {depth - 1}.")
        return cls(backbone.state_width, heads, size, found)

    @property
    def width(self) -> int:
        """W = h_kv · d_h, the numbers of one position's key in a layer."""
        return self.heads * self.size

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> "PoolShape":
        """The shape that `asdict` made JSON-ready."""
        numbers = {name: int(spec[name]) for name in ("query", "heads", "size")}
        layers = tuple(int(layer) for layer in spec["layers"])
        affordable(numbers["query"], len(layers))
        affordable(numbers["heads"], numbers["size"], len(layers))
        return cls(**numbers, layers=layers)


class Grown(nn.Module):
    """Numbers (E, f, …) of E layers, of which every task brings some: earlier tasks' are frozen, the last one's train.

    kept: (E, s, …), a buffer, so that no optimizer can move it. current: (E, f - s, …).
    """

    def __init__(self, *shape: int) -> None:
        super().__init__()
        layers, *rest = shape
        self.kept: Tensor
        self.register_buffer("kept", torch.empty(layers, 0, *rest))
        self.current = nn.Parameter(torch.empty(layers, 0, *rest))

    def __len__(self) -> int:
        return self.kept.shape[1] + self.current.shape[1]

    def forward(self) -> Tensor:
        """All of them, (E, f, …)."""
        return torch.cat([self.kept, self.current], dim=1)

    def grow(self, new: Tensor) -> None:
        """Freeze what there is, and train these (E, m, …) from now on."""
        self.kept = self().detach().clone()
        self.current = nn.Parameter(new.detach().to(self.kept).clone())

    def take(self, tensors: Mapping[str, Tensor], name: str) -> None:
        """Become what a state dict holds under this name, however many tasks it has."""
        kept, current = (tensors[f"{name}.{part}"].detach().clone().float() for part in ("kept", "current"))
        own = (self.kept.shape[0], *self.kept.shape[2:])
        if any((part.shape[0], *part.shape[2:]) != own for part in (kept, current)):
            raise CuetuneError(f"{name}: numbers of {tuple(kept.shape)} and {tuple(current.shape)} for {own}.")
        self.kept, self.current = kept, nn.Parameter(current)


class PoolPrompt(Prompt):
    """Base of the prompts that are made of a row's query. tasks: how many the pool has grown for."""

    reads_rows = True
    by_query = True

    def __init__(self, shape: PoolShape) -> None:
        super().__init__()
        self.shape = shape
        self.tasks = 0

    @abstractmethod
    def of(self, query: Tensor) -> Injection:
        """What is added to rows with these queries (B, D); differentiable in what is trained."""

    def of_current(self, query: Tensor) -> Injection:
        """The same while the last task is learned, where a method may use that it knows the task."""
        return self.of(query)

    def grow(self, seed: int) -> None:
        """Get ready for one more task; `seed` decides what its new numbers begin with."""
        self.tasks += 1

    def finish(self, queries: Tensor) -> None:
        """Close the task. queries: (N, D) of all the rows that were learned on."""
        return

    def penalty(self, query: Tensor) -> Tensor | None:
        """What is added to the loss of a batch with these queries; None for nothing."""
        return None

    def for_rows(self, backbone: Any, rows: Any) -> Injection:
        return self.of(query_of(backbone, rows))

    def injection(self) -> Injection:
        """What a row with a query of ones would get: what the prompt is like, for whoever only wants its shape."""
        made = self.of(torch.ones(1, self.shape.query, device=next(self.parameters()).device))
        return Injection(
            tokens={layer: states[0] for layer, states in made.tokens.items()},
            kv={layer: (keys[0], values[0]) for layer, (keys, values) in made.kv.items()},
        )

    def of_task(self, number: int) -> "Prompt":
        return Learning(self)

    def size(self, embedding_size: float) -> float:
        return SIZE

    def spec(self) -> dict[str, Any]:
        return {"shape": {**asdict(self.shape), "layers": list(self.shape.layers)}, "tasks": self.tasks}

    def prefixes(self, keys: Tensor, values: Tensor, layers: Sequence[int] | None = None) -> Injection:
        """Keys and values (E, B, P, W) of each layer, not projected, as the attention of E layers takes them."""
        shape = self.shape
        parts = [part.unflatten(-1, (shape.heads, shape.size)).transpose(2, 3) for part in (keys, values)]
        chosen = shape.layers if layers is None else layers
        return Injection(kv=dict(zip(chosen, zip(*parts, strict=True), strict=True)))


class Learning(Prompt):
    """A pool while its last task is learned, as a prompt of its own; its numbers are those of the whole."""

    reads_rows = True

    def __init__(self, whole: PoolPrompt) -> None:
        super().__init__()
        self.whole = whole

    def for_rows(self, backbone: Any, rows: Any) -> Injection:
        return self.whole.of_current(query_of(backbone, rows))

    def injection(self) -> Injection:
        return self.whole.injection()

    def spec(self) -> dict[str, Any]:
        raise CuetuneError("a pool is saved whole.")

    @classmethod
    def from_spec(cls, spec: dict[str, Any], tensors: dict[str, Tensor]) -> "Prompt":
        raise CuetuneError("a pool is saved whole.")


def halves(prompts: Tensor) -> tuple[Tensor, Tensor]:
    """A prompt (…, l, W) as l/2 keys and l/2 values. Raises CuetuneError for an odd length."""
    length = prompts.shape[-2]
    if length % 2:
        raise CuetuneError(f"a prompt of length {length}: half of it are keys and half are values; give an even one.")
    keys, values = prompts.split(length // 2, dim=-2)
    return keys, values


def cosine(query: Tensor, keys: Tensor) -> Tensor:
    """(E, B, f) cosines of queries (B, D) and keys (E, f, D)."""
    return nn.functional.normalize(query, dim=-1) @ nn.functional.normalize(keys, dim=-1).transpose(-1, -2)


def drawn(shape: Sequence[int], seed: int) -> Tensor:
    """Uniform numbers in [0, 1), as the released pools begin."""
    affordable(*shape)
    return torch.rand(tuple(shape), generator=torch.Generator().manual_seed(seed))
