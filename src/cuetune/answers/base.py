"""What an answer is: what one label, several labels, a number and text do not have in common, behind one class each."""

from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from cuetune.answers.prediction import Prediction
from cuetune.data.formats.cells import ABSENT, cell_at, is_missing
from cuetune.data.splits import split_examples

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from cuetune.data.row import Example, Row
    from cuetune.data.splits import Splits
    from cuetune.data.task import Task
    from cuetune.metrics.classification import Score

# What a row asks for: a label, several labels in the task's order, or a number.
Target = str | tuple[str, ...] | float


@dataclass(frozen=True)
class Measured:
    """How predictions did. The first of the scores is the one that methods are compared by: higher is better.

    confusion: (C, C) counts. per_label: one dictionary for each label, JSON-ready.
    """

    scores: "dict[str, Score]"
    confusion: "np.ndarray | None" = None
    calibration_error: float | None = None
    per_label: list[dict[str, Any]] = field(default_factory=list)


class Answers(ABC):
    """What is answered under a task. Methods import what they need when they are called.

    kind: the name of this kind of task, and the value of `--task`. usual_readout: what "auto" stands for, where label
    words could be scored too. agreement: what `agrees` measures, for a person. decides: whether there is something
    to choose on validation rows (`decided`). in_words: whether a prompt of words and demonstrations can be answered.
    """

    kind: ClassVar[str]
    agreement: ClassVar[str]
    usual_readout: ClassVar[str] = "words"
    decides: ClassVar[bool] = False
    in_words: ClassVar[bool] = True

    def __init__(self, task: "Task") -> None:
        self.task = task

    # In the data

    def target(self, row: "Row") -> Target:
        """What a row says is right. Raises CuetuneError naming row and column for anything it cannot mean."""
        return self.task.read_label(row)

    def labelled(self, row: "Row") -> bool:
        """Whether a row has the columns that say what is right."""
        return cell_at(row.values, self.task.label_column) is not ABSENT

    def answered(self, row: "Row") -> bool:
        """Whether something stands in those columns."""
        return self.labelled(row) and not is_missing(cell_at(row.values, self.task.label_column))

    def checked(self) -> None:
        """Raise CuetuneError where the task's parts do not go together."""
        return

    def strata(self, targets: Sequence[Any]) -> list[Hashable]:
        """For each target what it is drawn and split by, so that parts are alike."""
        return list(targets)

    def split(self, examples: "Sequence[Example]", **how: Any) -> "Splits":
        """Examples in parts that are alike; how: see `tasks.splits.split_examples`."""
        return split_examples(examples, **how)

    def fitted(self, examples: "Sequence[Example]") -> "Task":
        """The task with what its answers take from the rows to tune on."""
        return self.task

    def labels_of(self, examples: "Sequence[Example]") -> set[str]:
        """The labels that any of the examples has."""
        return {str(example.label) for example in examples}

    # From scores to answers

    @property
    def n_scores(self) -> int:
        """C: how many scores a readout gives each row."""
        return len(self.task.labels)

    @abstractmethod
    def losses(self, scores: "Tensor", targets: Sequence[Any]) -> "Tensor":
        """(B,) loss of each row from its scores (B, C)."""

    @abstractmethod
    def values(self, scores: "Tensor") -> "Tensor":
        """(…, C) probabilities, or numbers in the data's own unit, from scores (…, C)."""

    @abstractmethod
    def prediction(self, where: str, values: Sequence[float], cut: int = 0, limit: int = 0) -> Prediction:
        """The answer for one row from its C values; cut, limit: as of `Prediction`."""

    def decided(self, predictions: "Sequence[Prediction]", targets: Sequence[Any]) -> "Task":
        """The task with what decides between answers, chosen on validation rows."""
        return self.task

    # How good they are

    @abstractmethod
    def validation(self, predictions: "Sequence[Prediction]", targets: Sequence[Any]) -> dict[str, float]:
        """Scores on validation rows: one for a person to follow, and the loss."""

    @abstractmethod
    def measured(self, predictions: "Sequence[Prediction]", targets: Sequence[Any]) -> Measured:
        """Scores on held-out rows with confidence intervals."""

    def agrees(self, prediction: Prediction, target: Any) -> float:
        """How right one answer is: its mean over rows is the `agreement`."""
        return float(prediction.label == target)

    # A linear probe on frozen features

    @abstractmethod
    def probe(self, strength: float) -> Any:
        """An estimator of scikit-learn with `coef_` and `intercept_`. strength: 1 / the weight of regularisation."""

    @abstractmethod
    def probe_targets(self, targets: Sequence[Any]) -> Any:
        """What the estimator learns to give."""

    @abstractmethod
    def probe_values(self, estimator: Any, features: Any) -> "np.ndarray":
        """(N, C) values, as `prediction` takes them, of features (N, d). estimator: `probe` behind a StandardScaler."""

    def probe_quality(self, estimator: Any, features: Any, targets: Sequence[Any]) -> float:
        """How good the estimator is on these rows; the higher the better."""
        values = self.probe_values(estimator, features)
        predictions = [self.prediction("", row) for row in values.tolist()]
        return -self.validation(predictions, targets)["loss"]

    # As people read them

    @abstractmethod
    def described(self, targets: Sequence[Any]) -> list[str]:
        """What was understood, as lines for a person; targets: of the rows to tune on, if they are known."""

    def columns(self, prediction: Prediction) -> dict[str, Any]:
        """The columns that an answer adds to its row."""
        pairs = zip(self.task.labels, prediction.probabilities, strict=False)
        return {"predicted": prediction.label} | {f"p({label})": round(value, 6) for label, value in pairs}

    def cell(self, value: Any) -> Any:
        """A predicted answer in a cell of a table."""
        return value

    def shown(self, prediction: Prediction) -> list[str]:
        """An answer in words, and how sure it is."""
        return [str(prediction.label)]

    @property
    @abstractmethod
    def does(self) -> str:
        """What a prompt for this task does, as the end of a sentence."""

    def counts(self, targets: Mapping[Any, int]) -> dict[str, int]:
        """Rows by label from rows by target, for a report; empty where there are no labels."""
        return {}
