"""Text that is written freely for each row."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cuetune.answers.base import Answers, Measured
from cuetune.answers.prediction import Prediction
from cuetune.errors import CuetuneError
from cuetune.metrics.classification import exact_match
from cuetune.metrics.word_error_rate import word_error_rate

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from cuetune.data.row import Example
    from cuetune.data.splits import Splits


class WrittenText(Answers):
    """Generation: nothing is scored, so whatever asks for scores has come to the wrong place."""

    kind = "generation"
    agreement = "exact match"

    def split(self, examples: "Sequence[Example]", **how: Any) -> "Splits":
        """Every target is its own, so nothing is balanced."""
        return super().split(examples, stratify=False, **how)

    def losses(self, scores: "Tensor", targets: Sequence[Any]) -> "Tensor":
        raise CuetuneError("written text has no scores of labels; name --labels.")

    def values(self, scores: "Tensor") -> "Tensor":
        raise CuetuneError("written text has no scores of labels; name --labels.")

    def prediction(self, where: str, values: Sequence[float], cut: int = 0, limit: int = 0) -> Prediction:
        raise CuetuneError("written text has no scores of labels; name --labels.")

    def validation(self, predictions: "Sequence[Prediction]", targets: Sequence[Any]) -> dict[str, float]:
        raise CuetuneError("written text is validated by its loss alone.")

    def measured(self, predictions: "Sequence[Prediction]", targets: Sequence[Any]) -> Measured:
        written, truth = [prediction.label for prediction in predictions], [str(target) for target in targets]
        scores = exact_match(written, truth)
        if self.task.modality == "audio":
            scores |= word_error_rate(written, truth)
        return Measured(scores)

    def probe(self, strength: float) -> Any:
        raise CuetuneError("a linear probe writes no text.")

    def probe_targets(self, targets: Sequence[Any]) -> Any:
        raise CuetuneError("a linear probe writes no text.")

    def probe_values(self, estimator: Any, features: Any) -> "np.ndarray":
        raise CuetuneError("a linear probe writes no text.")

    def described(self, targets: Sequence[Any]) -> list[str]:
        return []

    @property
    def does(self) -> str:
        return "writes an answer to each row"
