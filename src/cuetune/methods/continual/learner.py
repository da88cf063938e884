"""Learner: what learns one task after another and answers over all labels so far. One subclass for each method."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from cuetune.backbones.batches import ImageBatch, TokenBatch
from cuetune.backbones.seeing import SeeingBackbone
from cuetune.backbones.text import TextBackbone
from cuetune.data.row import Example
from cuetune.data.task import Task
from cuetune.errors import CuetuneError
from cuetune.methods.continual.features import FrozenFeatures
from cuetune.prompts.base import Prompt
from cuetune.prompts.start import given_options
from cuetune.support.strict_json import DAMAGED, reason_of
from cuetune.tuning.progress import Reporter
from cuetune.tuning.runs import TaskData
from cuetune.tuning.settings import Settings


class Learner(ABC):
    """Learns tasks one after another without keeping an example. A new method is a subclass: it registers by `name`.

    backbone: frozen, of images or a causal model of texts. settings: of every task's run; `settings.prompt_options`
    are the method's own (`defaults` lists them); `steps`, `batch_size` and `learning_rate` are those of one task, None
    as in `tune`; `head_layer` and `pooling` say which state of a row is its query and is read by the head.
    seed: decides all that is drawn; `settings.seed` is not looked at.

    kind: what tasks bring, "classes", "domains" (the same labels every time) or "both", where a stream says it.
    prompt: what is added to rows; None where the queries alone are read.
    labels: in the order they were learned; column c of `logits` is labels[c]. tasks: how many were learned. task: how
    rows are read, that of the last task, with all labels so far; None before the first.
    """

    name: ClassVar[str] = ""
    described: ClassVar[str] = ""  # for a table of methods: what is learned, and from which paper
    defaults: ClassVar[Mapping[str, Any]] = {}
    learners: ClassVar[dict[str, type["Learner"]]] = {}

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if cls.name:
            Learner.learners[cls.name] = cls

    def __init__(
        self, backbone: SeeingBackbone | TextBackbone, settings: Settings | None = None, seed: int = 0
    ) -> None:
        self.backbone, self.seed = backbone, seed
        self.settings = (settings or Settings()).model_copy(update={"seed": seed})
        given = given_options(self.name, self.defaults, self.settings.prompt_options, "method")
        self.options: dict[str, Any] = {**self.defaults, **given}
        self.frozen = FrozenFeatures(backbone, self.settings.head_layer, self.settings.pooling)
        self.prompt: Prompt | None = None
        self.kind = "classes"
        self.labels: list[str] = []
        self.tasks = 0
        self.task: Task | None = None

    def learn(self, data: TaskData, reporters: Sequence[Reporter] = (), folder: Path | None = None) -> dict[str, Any]:
        """Train on one more task; its labels that are new are appended to `labels`, in the order of `data.task.labels`.

        A label seen before is learned on: whether a stream may show one again is for the stream to say. Labels that
        compete in the loss are those of this task. folder: where the run keeps its checkpoint (None: nowhere); after a
        kill, a learner restored to the state before this task goes on from there to the same numbers when it is given
        the same task. Whoever calls removes the folder once the state after the task is kept.

        Returns what it took, JSON-ready: "steps", "seconds", "tokens", "trained" (numbers that were trained) and
        "validation" (scores of the step that was kept; empty without validation rows); zeros where nothing is trained.
        Raises CuetuneError for a task without rows or labels, KeyboardInterrupt where a person stopped it; after either
        the learner is to be restored from its last state before it is used again.
        """
        if not data.train:
            raise CuetuneError(f"task {data.task.name!r}: no rows to learn from; leave the task out.")
        if not data.task.labels:
            raise CuetuneError(f"task {data.task.name!r}: no labels; a stream is of tasks with labels.")
        new = [label for label in data.task.labels if label not in self.labels]
        report = self._learn(data, new, reporters, folder)
        self.task = self._known(data.task)
        self.labels += new
        self.tasks += 1
        return {"steps": 0, "seconds": 0.0, "tokens": 0, "trained": 0, "validation": {}, **report}

    @torch.no_grad()
    def logits(self, examples: Sequence[Example]) -> Tensor:
        """(B, C) float32 on the CPU, over all labels so far; the label of an example is not looked at.

        Which task an example is of is not told. Raises CuetuneError before the first task.
        """
        if self.task is None:
            raise CuetuneError("nothing was learned yet; learn a task first.")
        if not examples:
            return torch.zeros(0, len(self.labels))
        return self._logits(examples).float().cpu()

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """(tensors, JSON-ready spec): all that is needed to go on, and nothing of any example.

        Its size follows from tasks and labels, not from how many examples there were.
        """
        tensors, own = self._state()
        spec = {
            "learner": self.name,
            "seed": self.seed,
            "options": self.options,
            "labels": list(self.labels),
            "tasks": self.tasks,
            "task": self.task.to_dict() if self.task else None,
            "own": own,
        }
        return {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}, spec

    def restore(self, tensors: Mapping[str, Tensor], spec: Mapping[str, Any]) -> None:
        """Become the learner whose `state()` this was: what is learned from here on comes to the same numbers.

        Call it on a learner of the same method, backbone, settings and seed. Raises CuetuneError for another's state.
        """
        mine: dict[str, Any] = {"learner": self.name, "seed": self.seed, "options": self.options}
        theirs = {**spec, "options": {**self.defaults, **spec.get("options", {})}}  # of a version with fewer options
        for what, value in mine.items():
            if theirs.get(what) != value:
                raise CuetuneError(f"the state is of {what} {theirs.get(what)!r}, not {value!r}; start a stream anew.")
        try:
            self.labels, self.tasks = list(spec["labels"]), int(spec["tasks"])
            self.task = Task.from_dict(spec["task"]) if spec["task"] else None
            self._restore(tensors, spec["own"])
        except DAMAGED as error:
            raise CuetuneError(
                f"the state of the stream cannot be rebuilt ({reason_of(error)}); copy it again, or start anew."
            ) from error

    def features(self, examples: Sequence[Example], task: Task | None = None) -> Tensor:
        """(N, d) float32 on the CPU what the frozen model alone says of examples, each computed once and remembered.

        task: how they are read; by default that of the last task learned, so give `data.task` while learning.
        """
        asked = task or self.task
        assert asked is not None, "a task says how its rows are read"
        return self.frozen.of(examples, asked)

    def batches(self, examples: Sequence[Example], task: Task | None = None) -> Iterator[TokenBatch | ImageBatch]:
        """The examples as they go through the backbone, some at a time. task: as of `features`."""
        asked = task or self.task
        assert asked is not None, "a task says how its rows are read"
        return self.frozen.batches(examples, asked)

    @property
    def runs_on(self) -> Any:
        """The backbone that answers: the frozen one, or a copy of which the weights were tuned."""
        return self.backbone

    def _known(self, task: Task) -> Task:
        """How rows are read from this task on: as it says, with the labels of earlier ones in front of its own."""
        words = dict(zip(self.task.labels, self.task.label_words, strict=True)) if self.task else {}
        words |= dict(zip(task.labels, task.label_words, strict=True))
        return replace(task, labels=tuple(words), label_words=tuple(words.values()))

    @abstractmethod
    def _learn(
        self, data: TaskData, new: Sequence[str], reporters: Sequence[Reporter], folder: Path | None
    ) -> dict[str, Any]:
        """Train on the task; `labels`, `tasks` and `task` are still those before it. new: labels not seen before."""

    @abstractmethod
    def scores(self, states: Tensor) -> Tensor:
        """(B, C) over `labels` from states (B, D): those under `prompt`, or queries where there is none."""

    @abstractmethod
    def _logits(self, examples: Sequence[Example]) -> Tensor:
        """(B, C) over `labels`."""

    @abstractmethod
    def _state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The method's own numbers, and what else `_restore` needs."""

    @abstractmethod
    def _restore(self, tensors: Mapping[str, Tensor], own: Mapping[str, Any]) -> None:
        """Take the method's own numbers back; `labels`, `tasks` and `task` are in place."""
