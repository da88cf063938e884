"""One label of a fixed set for each row."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cuetune.answers.base import Answers, Measured
from cuetune.answers.prediction import Prediction
from cuetune.errors import CuetuneError
from cuetune.metrics.classification import calibration_error, classification_scores, confusion, negative_log_likelihood
from cuetune.support.markdown import plain

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


class OneLabel(Answers):
    """Classification: softmax over the labels' scores, cross-entropy."""

    kind = "classification"
    agreement = "accuracy"

    @property
    def index(self) -> dict[str, int]:
        """The place of each label."""
        return {label: number for number, label in enumerate(self.task.labels)}

    def losses(self, scores: "Tensor", targets: Sequence[Any]) -> "Tensor":
        import torch
        import torch.nn.functional as F

        index = self.index
        wanted = torch.tensor([index[str(label)] for label in targets], device=scores.device)
        return F.cross_entropy(scores, wanted, reduction="none")

    def values(self, scores: "Tensor") -> "Tensor":
        return scores.softmax(dim=-1)

    def prediction(self, where: str, values: Sequence[float], cut: int = 0, limit: int = 0) -> Prediction:

        best = max(range(len(values)), key=values.__getitem__)
        return Prediction(where, self.task.labels[best], tuple(values), cut, limit)

    def validation(self, predictions: "Sequence[Prediction]", targets: Sequence[Any]) -> dict[str, float]:
        index = self.index
        right = [p.label == label for p, label in zip(predictions, targets, strict=True)]
        loss = negative_log_likelihood([p.probabilities for p in predictions], [index[str(each)] for each in targets])
        return {"accuracy": sum(right) / len(right), "loss": loss}

    def measured(self, predictions: "Sequence[Prediction]", targets: Sequence[Any]) -> Measured:
        index, truth = self.index, [str(label) for label in targets]
        found = [index[p.label] for p in predictions]
        counts = confusion([index[label] for label in truth], found, len(self.task.labels))
        right = [p.label == label for p, label in zip(predictions, truth, strict=True)]
        error = calibration_error([p.confidence for p in predictions], right)
        return Measured(classification_scores(counts), counts, error)

    def probe(self, strength: float) -> Any:
        from sklearn.linear_model import LogisticRegression

        return LogisticRegression(C=strength, max_iter=1000)

    def probe_targets(self, targets: Sequence[Any]) -> Any:
        if len(set(targets)) < 2:
            raise CuetuneError("a linear probe needs rows of two labels or more.")
        return list(targets)

    def probe_values(self, estimator: Any, features: Any) -> "np.ndarray":
        """A label that no row had gets no probability."""
        import numpy as np

        found = estimator.predict_proba(features)
        place = {str(label): number for number, label in enumerate(estimator.classes_)}
        values = np.zeros((len(found), len(self.task.labels)))
        for number, label in enumerate(self.task.labels):
            if label in place:
                values[:, number] = found[:, place[label]]
        return values

    def probe_quality(self, estimator: Any, features: Any, targets: Sequence[Any]) -> float:
        return float(estimator.score(features, list(targets)))

    def described(self, targets: Sequence[Any]) -> list[str]:
        return []

    def shown(self, prediction: Prediction) -> list[str]:
        return [prediction.label, f"{prediction.confidence:.3f}"]

    def columns(self, prediction: Prediction) -> dict[str, Any]:
        if prediction.probabilities:
            return super().columns(prediction)
        return {"predicted": prediction.label, "p(predicted)": round(prediction.confidence, 6)}

    def counts(self, targets: Mapping[Any, int]) -> dict[str, int]:
        return {label: targets.get(label, 0) for label in self.task.labels}

    @property
    def does(self) -> str:
        labels = self.task.labels
        more = f" and {len(labels) - 6} more labels" if len(labels) > 6 else ""
        return f"tells {' / '.join(map(plain, labels[:6]))}{more} for each row"
