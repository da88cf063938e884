"""Learners whose tasks go through the one training loop: something is tuned together with a head that grows."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from cuetune.backbones.batches import ImageBatch, TokenBatch
from cuetune.backbones.seeing import SeeingBackbone
from cuetune.backbones.text import TextBackbone
from cuetune.data.row import Example
from cuetune.data.splits import fingerprint
from cuetune.data.task import Task
from cuetune.methods.continual.head import GrowingHead
from cuetune.methods.continual.learner import Learner
from cuetune.prompts.base import Prompt
from cuetune.prompts.pool import PoolPrompt
from cuetune.tuning.loop import Outcome, Tuner
from cuetune.tuning.objectives import Batch, Objective, cross_entropy
from cuetune.tuning.progress import Reporter
from cuetune.tuning.runs import TaskData
from cuetune.tuning.settings import Settings


class PoolPenalty(Objective):
    """What a pool adds to the loss: keys that are pulled to queries, components that are held orthonormal."""

    def __call__(self, batch: Batch) -> Tensor:
        assert isinstance(batch.prompt, PoolPrompt)
        assert batch.query is not None
        penalty = batch.prompt.penalty(batch.query)
        return batch.hidden.new_zeros(()) if penalty is None else penalty


class TunedLearner(Learner):
    """A prompt, or weights, tuned task after task by `Tuner`, and a head with a row for each label so far.

    masked: only the labels of the task compete in its loss, so that the head's other rows get no gradient and stay as
    they are bit by bit (what CODA-Prompt's baselines write as "++"); else all labels so far compete.
    freeze_head: rows of the head stay as they are when their labels come again, in another domain.
    """

    masked: ClassVar[bool] = True
    prompt: Prompt

    @property
    def freeze_head(self) -> bool:
        return False

    def __init__(
        self, backbone: SeeingBackbone | TextBackbone, settings: Settings | None = None, seed: int = 0
    ) -> None:
        super().__init__(backbone, settings, seed)
        self.head = GrowingHead(backbone.state_width)
        self.prompt = self.begin()

    @abstractmethod
    def begin(self) -> Prompt:
        """What is tuned, before the first task."""

    def begin_task(self, data: TaskData, seed: int) -> None:
        """Make `prompt` ready for one more task; `seed` decides what is drawn."""
        return

    def end_task(self, data: TaskData) -> None:
        """Close the task."""
        return

    def _learn(
        self, data: TaskData, new: Sequence[str], reporters: Sequence[Reporter], folder: Path | None
    ) -> dict[str, Any]:
        seed = self.seed * 1000 + self.tasks  # a seed for each task, so that tasks do not begin alike
        self.begin_task(data, seed)
        outcome = self._tuned(data, seed, reporters, folder)
        if outcome.progress.stopped == "interrupted":
            raise KeyboardInterrupt
        assert outcome.head is not None
        self.head.take(outcome.head, self._competing(data).labels)
        self.end_task(data)
        return _report(outcome, self.prompt)

    def _competing(self, data: TaskData) -> Task:
        """The task with the labels that compete in its loss."""
        return data.task if self.masked else self._known(data.task)

    def _tuned(self, data: TaskData, seed: int, reporters: Sequence[Reporter], folder: Path | None) -> Outcome:
        task, prompt, by_query = self._competing(data), self.prompt, self.prompt.by_query
        # A head that has all its labels from the first task on begins as a probe. Heads of different tasks that do so
        # differ in size, and answers of one task drown another's: on three tasks of emoji CODA-Prompt ends at 0.44
        # instead of 0.58, though each task by itself is learned better.
        start = "probe" if self.kind == "domains" and not self.tasks else "random"
        own = {"readout": "head", "head_init": start, "seed": seed, "prompt_options": {}}
        settings = self.settings.model_copy(update=own)
        tuner = Tuner(
            self.runs_on,
            prompt,
            TaskData(task, data.train, data.validation),
            settings.resolved(self.runs_on, len(data.train), prompt),
            folder=folder,
            reporters=reporters,
            objectives=(cross_entropy, PoolPenalty()) if by_query else (cross_entropy,),
            data_key=f"{self.name} {self.options} {self.tasks} {fingerprint([*data.train, *data.validation])}",
            queries=[self.features(data.train, task)] if by_query else (),
            head_known=set(task.labels) <= set(self.head.labels),
        )
        self.head.begin(tuner.runs[0].head, task.labels, self.freeze_head)
        return tuner.run()

    def scores(self, states: Tensor) -> Tensor:
        return self.head.scores(states)

    def _logits(self, examples: Sequence[Example]) -> Tensor:
        return torch.cat([self.scores(states) for states in self.states_of(examples)])

    @torch.no_grad()
    def states_of(self, examples: Sequence[Example], task: Task | None = None) -> Iterator[Tensor]:
        """(B, D) states of some examples at a time, under what was tuned. task: as of `features`."""
        for rows in self._asked(examples, task):
            (states,) = self.runs_on.hidden_mixed([(rows, self.prompt.for_rows(self.runs_on, rows))])
            yield states

    def _asked(self, examples: Sequence[Example], task: Task | None) -> Iterator[TokenBatch | ImageBatch]:
        """The examples as they go through the backbone, with their queries where the prompt goes by them."""
        done, queries = 0, self.features(examples, task) if self.prompt.by_query else None
        for rows in self.batches(examples, task):
            size = len(rows.lengths) if isinstance(rows, TokenBatch) else len(rows.pixels)
            yield rows if queries is None else replace(rows, query=queries[done : done + size])
            done += size


def _report(outcome: Outcome, prompt: Prompt) -> dict[str, Any]:
    """What a task took, JSON-ready."""
    assert outcome.head is not None
    scores = {name: value for name, value in outcome.progress.best_scores.items() if name != "step"}
    return {
        "steps": outcome.progress.step,
        "seconds": round(outcome.progress.seconds, 2),
        "tokens": outcome.progress.tokens,
        "trained": prompt.n_trained + outcome.head.weight.numel() + outcome.head.bias.numel(),
        "validation": scores,
    }
