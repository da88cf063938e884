"""Learners with a pool of prompts: CODA-Prompt and what it is compared with, each by the name that streams know."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from cuetune.data.splits import first_of_each_label
from cuetune.errors import CuetuneError
from cuetune.methods.continual.ridge import FIT, WIDTH, RandomRidge, one_hot
from cuetune.methods.continual.tuned import TunedLearner
from cuetune.prompts.base import Prompt
from cuetune.prompts.pool import PoolPrompt, PoolShape
from cuetune.prompts.pool_coda import CodaPrompt
from cuetune.prompts.pool_dual import DualPrompt
from cuetune.prompts.pool_l2p import L2PPrefixPrompt, L2PPrompt
from cuetune.prompts.pool_tasks import TaskPrompts
from cuetune.tuning.progress import Reporter
from cuetune.tuning.runs import TaskData

HEADS = ("trained", "ridge")
# Options of every pool.
OF_HEADS: Mapping[str, Any] = {"freeze_head": False, "head": "trained", "first_session": False, "width": WIDTH}


class PoolLearner(TunedLearner):
    """A pool of prompts and a head; the backbone runs once for an example's query and once under its prompt.

    Options: `freeze_head`, rows of the head stay as they are when their labels come again, in another domain. `head`:
    what answers, the head that is "trained" with the pool, or "ridge": ridge regression over the prompted states of the
    rows of all tasks (`RandomRidge`, of `width` columns), each counted when its task is over, so that labels of
    different tasks are compared; the head that is trained then only says what a task's prompts are to tell apart.
    `first_session`: the prompts are tuned on the first task and stay, so that sums never go stale; later tasks are only
    counted (RanPAC's first phase, McDonnell et al. 2023, section 4).
    Raises CuetuneError for another head, or a first session without ridge.
    """

    prompt: PoolPrompt

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        if self.options["head"] not in HEADS:
            raise CuetuneError(f"head {self.options['head']!r}: choose one of {', '.join(HEADS)}.")
        if self.options["first_session"] and self.options["head"] != "ridge":
            raise CuetuneError("first_session: of later tasks a trained head learns nothing; give head=ridge with it.")
        width = int(self.backbone.state_width)
        self.regression = (
            RandomRidge(width, int(self.options["width"]), self.seed) if self.options["head"] == "ridge" else None
        )

    def _learn(
        self, data: TaskData, new: Sequence[str], reporters: Sequence[Reporter], folder: Path | None
    ) -> dict[str, Any]:
        if not (self.options["first_session"] and self.tasks):
            return super()._learn(data, new, reporters, folder)
        started = time.perf_counter()
        self.head.add(new)
        self._count(data)
        return {"seconds": round(time.perf_counter() - started, 2)}

    def begin_task(self, data: TaskData, seed: int) -> None:
        self.prompt.grow(seed)

    def end_task(self, data: TaskData) -> None:
        self.prompt.finish(self.features(data.train, data.task))
        if self.regression is not None:
            self._count(data)

    def _count(self, data: TaskData) -> None:
        """Add the task's rows, as they are under the pool now, to the sums."""
        regression, rows, done = self.regression, data.all_rows, 0
        assert regression is not None
        regression.begin(len(self.head.labels), torch.tensor(first_of_each_label(rows, FIT)))
        for states in self.states_of(rows, data.task):
            regression.add(states, one_hot(rows[done : done + len(states)], self.head.labels))
            done += len(states)
        regression.end()

    def scores(self, states: Tensor) -> Tensor:
        return super().scores(states) if self.regression is None else self.regression.scores(states)

    @property
    def freeze_head(self) -> bool:
        return bool(self.options["freeze_head"])

    def own(self) -> dict[str, Any]:
        """The options that the pool itself has."""
        return {name: value for name, value in self.options.items() if name not in ("layers", *OF_HEADS)}

    def shape(self) -> PoolShape:
        """That of the prompted layers, said by the option `layers` as "first-last"."""
        return PoolShape.of(self.backbone, layers_of(str(self.options["layers"])))

    def _state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        prompt = {f"prompt.{name}": value for name, value in self.prompt.state_dict().items()}
        sums, ridge = self.regression.state() if self.regression is not None and self.labels else ({}, {})
        named = {f"sums.{name}": value for name, value in sums.items()}
        return {**prompt, **self.head.tensors(), **named}, {
            "kind": self.prompt.kind,
            "spec": self.prompt.spec(),
            **ridge,
        }

    def _restore(self, tensors: Mapping[str, Tensor], own: Mapping[str, Any]) -> None:
        prompt = Prompt.rebuild(own["kind"], own["spec"], _part(tensors, "prompt."))
        assert isinstance(prompt, PoolPrompt)
        self.backbone.check(prompt.injection(), self.name)
        self.prompt = prompt.to(self.backbone.device)
        self.head.restore(tensors, self.labels)
        if self.regression is not None and self.labels:
            self.regression.restore(_part(tensors, "sums."), own)


def _part(tensors: Mapping[str, Tensor], start: str) -> dict[str, Tensor]:
    """Those whose names begin so, without that beginning."""
    return {name.removeprefix(start): value for name, value in tensors.items() if name.startswith(start)}


class Coda(PoolLearner):
    """CODA-Prompt (Smith et al., CVPR 2023)."""

    name = "coda"
    described = "a sum of components, weighted by attended queries (Smith 2023)"
    defaults: ClassVar[Mapping[str, Any]] = {
        "components": 10,
        "length": 8,
        "layers": "0-4",
        "orthogonality": 0.0,
        **OF_HEADS,
    }

    def begin(self) -> PoolPrompt:
        options = self.options
        return CodaPrompt(self.shape(), options["length"], options["components"], options["orthogonality"])


class L2P(PoolLearner):
    """L2P (Wang et al., CVPR 2022)."""

    name = "l2p"
    described = "virtual tokens of the nearest keys in a pool (Wang 2022)"
    defaults: ClassVar[Mapping[str, Any]] = {"pool": 10, "length": 5, "top": 5, "key_loss_weight": 0.5, **OF_HEADS}

    def begin(self) -> PoolPrompt:
        shape = PoolShape.of(self.backbone, (0,))
        return L2PPrompt.begin(shape, self.backbone.width, **self.own(), seed=self.seed)


class L2PPlus(PoolLearner):
    """L2P++ and, with more layers, Deep L2P++ (CODA-Prompt's baselines)."""

    name = "l2p++"
    described = "keys and values of the nearest keys in a pool (Smith 2023)"
    defaults: ClassVar[Mapping[str, Any]] = {
        "pool": 30,
        "length": 20,
        "top": 5,
        "key_loss_weight": 0.5,
        "layers": "0-0",
        **OF_HEADS,
    }

    def begin(self) -> PoolPrompt:
        return L2PPrefixPrompt.begin(self.shape(), **self.own(), seed=self.seed)


class Dual(PoolLearner):
    """DualPrompt (Wang et al., ECCV 2022)."""

    name = "dual"
    described = "a prompt that tasks share and one for each task, found by its key (Wang 2022)"
    defaults: ClassVar[Mapping[str, Any]] = {
        "general": 2,
        "shared": 6,
        "length": 20,
        "key_loss_weight": 1.0,
        "layers": "0-4",
        **OF_HEADS,
    }

    def begin(self) -> PoolPrompt:
        return DualPrompt.begin(self.shape(), **self.own(), seed=self.seed)


class PromptPerTask(PoolLearner):
    """One prompt for each task, chosen by the nearest key."""

    name = "task-prompts"
    described = "one prompt for each task, of the task whose mean query is nearest"
    defaults: ClassVar[Mapping[str, Any]] = {"length": 20, "layers": "0-4", **OF_HEADS}

    def begin(self) -> PoolPrompt:
        return TaskPrompts(self.shape(), self.options["length"])


def layers_of(said: str) -> range:
    """The layers of "first-last" or "layer". Raises CuetuneError for anything else."""
    first, _, last = said.partition("-")
    if not first.isdigit() or not (last or first).isdigit() or int(last or first) < int(first):
        raise CuetuneError(f"layers {said!r}: give the first and the last, like 0-4.")
    return range(int(first), int(last or first) + 1)
