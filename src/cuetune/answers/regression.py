"""A number for each row."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cuetune.answers.base import Answers, Measured
from cuetune.answers.prediction import Prediction
from cuetune.data.labels.cells import number_in
from cuetune.data.splits import Splits
from cuetune.errors import CuetuneError
from cuetune.metrics.regression import pearson, regression_scores

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from cuetune.data.row import Example, Row
    from cuetune.data.splits import Splits
    from cuetune.data.task import Task

BINS, IN_A_BIN = 10, 10  # strata by quantile: at most so many, of at least so many rows


class Number(Answers):
    """Regression by a head: y = mean + standard deviation · (w h + b), squared error in standard deviations."""

    kind = "regression"
    agreement = "mean absolute error"
    usual_readout = "head"
    in_words = False

    def target(self, row: "Row") -> float:
        return number_in(row, self.task.label_column)

    def checked(self) -> None:
        if self.task.labels:
            raise CuetuneError("a regression task has no labels; leave --labels out.")
        if self.task.scale and (len(self.task.scale) != 2 or self.task.scale[1] <= 0):
            raise CuetuneError("scale: expected the mean and a standard deviation above 0.")

    def strata(self, targets: Sequence[Any]) -> list[Hashable]:
        """Which part of the range each number lies in; parts hold about equally many rows."""
        ordered = sorted(targets)
        bins = max(1, min(BINS, len(ordered) // IN_A_BIN))
        edges = [ordered[len(ordered) * number // bins] for number in range(1, bins)]
        return [sum(value >= edge for edge in edges) for value in targets]

    def split(self, examples: "Sequence[Example]", **how: Any) -> "Splits":
        """Balanced over the range of the numbers."""
        strata = self.strata([example.label for example in examples])
        binned = [replace(example, label=f"{part:02}") for example, part in zip(examples, strata, strict=True)]
        whole = {id(each): example for each, example in zip(binned, examples, strict=True)}
        made = super().split(binned, **how)
        parts = ([whole[id(each)] for each in part] for part in (made.train, made.validation, made.test))
        return Splits(*parts)

    def fitted(self, examples: "Sequence[Example]") -> "Task":
        """The task with the scale of these rows' numbers, unless it has one."""
        import numpy as np

        if self.task.scale or not examples:
            return self.task
        numbers = np.array([example.label for example in examples])
        if not numbers.std() > 0:
            raise CuetuneError(
                f"column {self.task.label_column!r}: all rows to tune on have the number {numbers[0]:g}; there is "
                "nothing to learn."
            )
        return replace(self.task, scale=(float(numbers.mean()), float(numbers.std())))

    def labels_of(self, examples: "Sequence[Example]") -> set[str]:
        return set()

    @property
    def n_scores(self) -> int:
        return 1

    @property
    def scale(self) -> tuple[float, float]:
        mean, deviation = self.task.scale or (0.0, 1.0)
        return mean, deviation

    def losses(self, scores: "Tensor", targets: Sequence[Any]) -> "Tensor":
        """Squared error of each row in standard deviations of the rows that were tuned on."""
        import torch

        mean, deviation = self.scale
        wanted = (torch.tensor([*targets], dtype=torch.float64) - mean) / deviation
        return (scores.squeeze(-1) - wanted.to(scores)).square()

    def values(self, scores: "Tensor") -> "Tensor":
        mean, deviation = self.scale
        return mean + deviation * scores.double()

    def prediction(self, where: str, values: Sequence[float], cut: int = 0, limit: int = 0) -> Prediction:

        return Prediction(where, float(values[0]), (), cut, limit)

    def agrees(self, prediction: Prediction, target: Any) -> float:
        return abs(prediction.label - target)

    def validation(self, predictions: "Sequence[Prediction]", targets: Sequence[Any]) -> dict[str, float]:
        import numpy as np

        found, truth = np.array([each.label for each in predictions]), np.array([*targets], dtype=float)
        loss = float(np.square((found - truth) / self.scale[1]).mean())
        return {"pearson": pearson(truth, found), "loss": loss}

    def measured(self, predictions: "Sequence[Prediction]", targets: Sequence[Any]) -> Measured:
        import numpy as np

        found, truth = np.array([each.label for each in predictions]), np.array([*targets], dtype=float)
        return Measured(regression_scores(truth, found))

    def probe(self, strength: float) -> Any:
        from sklearn.linear_model import Ridge

        return Ridge(alpha=1 / strength)

    def probe_targets(self, targets: Sequence[Any]) -> Any:
        """Numbers in standard deviations, as the head's scores are."""
        import numpy as np

        mean, deviation = self.scale
        numbers = (np.array([*targets], dtype=float) - mean) / deviation
        if not len(numbers) or not numbers.std() > 0:
            raise CuetuneError("a linear probe needs rows with different numbers.")
        return numbers

    def probe_values(self, estimator: Any, features: Any) -> "np.ndarray":
        mean, deviation = self.scale
        found: np.ndarray = mean + deviation * estimator.predict(features).reshape(-1, 1)
        return found

    def described(self, targets: Sequence[Any]) -> list[str]:
        found = f": {min(targets):g} to {max(targets):g}, mean {sum(targets) / len(targets):.3g}" if targets else ""
        return [f"  regression: a number for each row{found}; --task classification takes each value as a label"]

    def columns(self, prediction: Prediction) -> dict[str, Any]:
        return {"predicted": float(f"{prediction.label:.6g}")}

    def shown(self, prediction: Prediction) -> list[str]:
        return [f"{prediction.label:.4g}"]

    @property
    def does(self) -> str:
        return "gives each row a number"

    def counts(self, targets: Mapping[Any, int]) -> dict[str, int]:
        return {}
