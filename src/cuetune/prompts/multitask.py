"""Multitask prompts: one shared prompt, and for each task a few numbers that scale it (MPT, Wang et al., ICLR 2023)."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from cuetune.backbones.injection import Injection
from cuetune.errors import CuetuneError
from cuetune.prompts.base import Prompt, affordable
from cuetune.prompts.soft import SoftPrompt

# How fast a task's own numbers learn relative to the shared prompt: the published rates are 0.4 and 0.3.
TASK_RATE = 0.4 / 0.3
# How fast a new task's prompt learns relative to one that begins from words: what it starts from has been trained
# already. Of 0.3 and 1, 0.3 was better on the one target that settings are chosen on (benchmarks/README.md).
ADAPTED_RATE = 0.3


class MultitaskPrompt(Prompt):
    """P_k = P* ∘ (u_k v_kᵀ) for each task k: P* (l, d) holds what tasks share (MPT, section 3.2).

    shared: P*, copied to float32. tasks: their names. rank: r of u_k (l, r) and v_k (r, d); all ones in the first rank
    and nothing in the others, so that step 0 is the shared prompt itself; rank 0 leaves the tasks nothing of their own.
    noise: spread of the numbers that are added to that start, drawn by `seed`. frozen: P* is kept as it is.
    task_rate: how fast u and v learn relative to P* and to their size. rate: how fast all of it learns relative to the
    run's learning rate.
    Trains l·d + K·r·(l + d) numbers for K tasks.
    """

    kind = "multitask"

    def __init__(
        self,
        shared: Tensor,
        tasks: Sequence[str],
        *,
        rank: int = 1,
        noise: float = 0.0,
        seed: int = 0,
        frozen: bool = False,
        task_rate: float = TASK_RATE,
        rate: float = 1.0,
    ) -> None:
        super().__init__()
        twice = sorted({name for name in tasks if tasks.count(name) > 1})
        if twice or not tasks:
            raise CuetuneError(f"two tasks are named {twice[0]!r}; give each its own name." if twice else "no tasks.")
        if frozen and not rank:
            raise CuetuneError(
                "P* is frozen and rank 0 leaves the tasks nothing of their own: there is nothing to train."
            )
        self.tasks, self.task_rate, self.rate = tuple(tasks), task_rate, rate
        length, width = shared.shape
        self.shared = nn.Parameter(shared.detach().clone().to(torch.float32), requires_grad=not frozen)
        generator = torch.Generator().manual_seed(seed)
        self.u = nn.Parameter(_start((len(tasks), length, rank), -1, noise, generator))
        self.v = nn.Parameter(_start((len(tasks), rank, width), -2, noise, generator, others=0.0))

    @property
    def rank(self) -> int:
        return self.u.shape[-1]

    def embeddings(self, number: int) -> Tensor:
        """P_k (l, d), differentiable in P*, u_k and v_k."""
        return self.shared * (self.u[number] @ self.v[number]) if self.rank else self.shared

    def of_task(self, number: int) -> "OneTask":
        return OneTask(self, number)

    def injection(self) -> Injection:
        """That of the only task. Raises CuetuneError where there are several."""
        if len(self.tasks) > 1:
            raise CuetuneError(f"this prompt has {len(self.tasks)} tasks ({', '.join(self.tasks)}); ask for one.")
        return Injection(tokens={0: self.embeddings(0)})

    def fold(self) -> Prompt:
        """The only task as a soft prompt; several tasks stay as they are."""
        return SoftPrompt(self.embeddings(0)) if len(self.tasks) == 1 else self

    def adapted(self, tasks: Sequence[str], **how: Any) -> "MultitaskPrompt":
        """The start for new tasks: the same P*, their u and v the means over those of its tasks (MPT, section 3.3).

        how: `frozen`, `task_rate`, `rate`.
        """
        new = MultitaskPrompt(self.shared, tasks, rank=self.rank, **{"rate": ADAPTED_RATE, **how})
        with torch.no_grad():
            new.u.copy_(self.u.mean(0, keepdim=True))
            new.v.copy_(self.v.mean(0, keepdim=True))
        return new

    def groups(self) -> list[tuple[list[nn.Parameter], float]]:
        """P* at `rate` times what follows from its size; u and v at what follows from theirs, which is 1."""
        size = float(self.shared.detach().pow(2).mean().sqrt())
        own = [([self.u, self.v], self.rate * self.task_rate / max(size, 1e-6))] if self.rank else []
        return ([([self.shared], self.rate)] if self.shared.requires_grad else []) + own

    @property
    def length(self) -> int:
        return self.shared.shape[0]

    @property
    def n_trained(self) -> int:
        return sum(part.numel() for part in (self.shared, self.u, self.v) if part.requires_grad)

    def described(self) -> str:
        return (
            f"{self.length} virtual tokens at the embedding layer, shared by {len(self.tasks)} tasks, rank {self.rank}"
        )

    def spec(self) -> dict[str, Any]:
        frozen = not self.shared.requires_grad
        rates = {"task_rate": self.task_rate, "rate": self.rate}
        return {"tasks": list(self.tasks), "rank": self.rank, "frozen": frozen, **rates}

    @classmethod
    def from_spec(cls, spec: dict[str, Any], tensors: dict[str, Tensor]) -> "MultitaskPrompt":
        length, width = tensors["shared"].shape
        affordable(len(spec["tasks"]), spec["rank"], length + width)
        prompt = cls(
            tensors["shared"],
            spec["tasks"],
            rank=spec["rank"],
            frozen=spec["frozen"],
            task_rate=float(spec["task_rate"]),
            rate=float(spec.get("rate", 1.0)),
        )
        prompt.load_state_dict({**prompt.state_dict(), **tensors})  # with rank 0 there is no u and no v to save
        return prompt


class OneTask(Prompt):
    """One task of a multitask prompt, as a prompt of its own; its numbers are those of the whole."""

    def __init__(self, whole: MultitaskPrompt, number: int) -> None:
        super().__init__()
        self.whole, self.number = whole, number

    def injection(self) -> Injection:
        return Injection(tokens={0: self.whole.embeddings(self.number)})

    def fold(self) -> SoftPrompt:
        """P_k as a soft prompt that needs nothing else."""
        return SoftPrompt(self.whole.embeddings(self.number))

    def spec(self) -> dict[str, Any]:
        raise CuetuneError("one task of a multitask prompt is saved folded, or with the whole.")

    @classmethod
    def from_spec(cls, spec: dict[str, Any], tensors: dict[str, Tensor]) -> "Prompt":
        raise CuetuneError("one task of a multitask prompt is saved folded, or with the whole.")


def _start(
    shape: tuple[int, ...], rank_axis: int, noise: float, generator: torch.Generator, others: float = 0.02
) -> Tensor:
    """Ones in the first rank, and in the others numbers of spread `others`; noise is added everywhere.

    With u of the other ranks small and v zero, their product is nothing at first, but has a gradient.
    """
    numbers = others * torch.randn(shape, generator=generator)
    if shape[rank_axis]:
        numbers.select(rank_axis, 0).fill_(1.0)
    return numbers + noise * torch.randn(shape, generator=generator) if noise else numbers
