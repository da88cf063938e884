"""A learned stream as the other verbs take it: what answers among all labels so far."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from torch import Tensor

from cuetune.answers.prediction import Prediction
from cuetune.backbones.injection import Injection
from cuetune.data.row import Example
from cuetune.data.task import Task
from cuetune.errors import CuetuneError
from cuetune.library.tuned import TunedPrompt
from cuetune.methods.continual.learned import STATE, Learned
from cuetune.methods.continual.learner import Learner
from cuetune.methods.continual.learning import JOINT
from cuetune.methods.continual.registry import LEARNERS, new_learner
from cuetune.prediction.base import BasePredictor
from cuetune.prompts.base import Prompt
from cuetune.tuning.settings import Settings

ROWS_AT_ONCE = 64


class LearnerPrompt(Prompt):
    """Stands for a learner's numbers where a prompt is asked for. trained: how many of them were trained."""

    def __init__(self, method: str, described: str, trained: int) -> None:
        super().__init__()
        self.kind = method  # type: ignore[misc]
        self._described, self._trained = described, trained

    def injection(self) -> Injection:
        """Nothing: what a learner adds, if anything, follows from each row."""
        return Injection()

    def spec(self) -> dict[str, Any]:
        raise CuetuneError("a learned stream is kept by `cuetune learn`; it is no prompt that could be saved alone.")

    @classmethod
    def from_spec(cls, spec: dict[str, Any], tensors: dict[str, Tensor]) -> "LearnerPrompt":
        raise CuetuneError("a learned stream is read with `cuetune.load`.")

    def described(self) -> str:
        return self._described

    @property
    def n_trained(self) -> int:
        return self._trained


@dataclass(frozen=True)
class LearnedPrompt(TunedPrompt):
    """What was learned of a stream so far, ready for `predict` and `evaluate`."""

    learned: Learned | None = None

    def predictor(self, backbone: Any, writing: Any = None, skipped: Any = None) -> "LearnerPredictor":
        """Its learner on its backbone. Raises CuetuneError where rows are to be skipped."""
        assert self.learned is not None
        if skipped is not None:
            raise CuetuneError(
                "a learned stream answers every row or none; remove the broken ones (--skip-unreadable is off)."
            )
        name = self.learned.method.removesuffix(JOINT)
        learner = new_learner(name, backbone, Settings(**self.learned.settings), self.learned.seed)
        learner.restore(self.learned.tensors, self.learned.spec)
        return LearnerPredictor(learner, self.task)


def load_learned(folder: str | Path) -> LearnedPrompt:
    """A learned stream as a prompt. Raises CuetuneError naming the file for a damaged one."""
    learned = Learned.load(folder)
    method = LEARNERS.get(learned.method.removesuffix(JOINT))
    if method is None:
        raise CuetuneError(f"{Path(folder) / STATE}: method {learned.method!r} is not known here; upgrade cuetune.")
    prompt = LearnerPrompt(learned.method, f"{learned.method}: {method.described}", int(learned.cost["trained"]))
    record = {"versions": dict(learned.versions), "seed": learned.seed}
    return LearnedPrompt(prompt, learned.task, learned.backbone, record, learned=learned)


class LearnerPredictor(BasePredictor):
    """Answers for any number of rows in constant memory, in their order."""

    def __init__(self, learner: Learner, task: Task) -> None:
        self.learner, self.task = learner, task

    def answered(self, examples: Iterable[Example], *, best_only: bool = False) -> Iterator[tuple[Example, Prediction]]:
        """Each example with its answer, which has a probability for each label in the task's order."""
        source = iter(examples)
        while rows := list(islice(source, ROWS_AT_ONCE)):
            yield from zip(rows, self.said(rows, self.learner.logits(rows)), strict=True)

    def said(self, rows: Sequence[Example], logits: Tensor) -> Iterator[Prediction]:
        """Predictions from the learner's logits (B, C)."""
        order = [self.learner.labels.index(label) for label in self.task.labels]
        probabilities = logits[:, order].softmax(dim=-1)
        for row, best, each in zip(rows, probabilities.argmax(dim=-1), probabilities.tolist(), strict=True):
            yield Prediction(row.where, self.task.labels[int(best)], tuple(each))
