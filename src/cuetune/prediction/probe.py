"""A linear probe on what the frozen model makes of a row: logistic regression, of a number ridge regression.

The baseline that trains in seconds.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from cuetune.answers.prediction import Prediction
from cuetune.data.row import Example
from cuetune.data.splits import first_of_each
from cuetune.data.task import Task

FIT = 0.8  # of each label's rows; features and strength are chosen on the rest
STRENGTHS = (1e-4, 1e-3, 1e-2, 0.1, 1.0)  # C of scikit-learn: smaller is more regularised


@dataclass(frozen=True)
class Probe:
    """A fitted probe: which features it reads, and the classifier (or regression) on them.

    quality: on the rows that features and strength were chosen on (`Answers.probe_quality`): of one label the accuracy.
    task: with what was decided on those rows (`Answers.decided`).
    """

    features: str
    strength: float
    classifier: Any
    quality: float
    task: Task

    @property
    def n_trained(self) -> int:
        """Weights and biases of the classifier; scaling is folded into them."""
        logistic = self.classifier[-1]
        return int(logistic.coef_.size + np.size(logistic.intercept_))

    def linear(self, labels: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """(C, d) and (C,): the classifier as one linear map of unscaled features, for these labels in this order.

        A label that no row had gets zeros and the smallest of the biases.
        """
        scaler, logistic = self.classifier
        weight = torch.from_numpy(np.atleast_2d(logistic.coef_) / scaler.scale_)
        bias = torch.from_numpy(np.atleast_1d(logistic.intercept_)) - weight @ torch.from_numpy(scaler.mean_)
        if not hasattr(logistic, "classes_"):  # a row for each score already
            return weight.float(), bias.float()
        if len(weight) == 1:  # of two labels scikit-learn keeps the second's
            weight, bias = torch.cat([-weight, weight]) / 2, torch.cat([-bias, bias]) / 2
        found = {str(label): number for number, label in enumerate(logistic.classes_)}
        rows = [found.get(label) for label in labels]
        whole = torch.stack([weight.new_zeros(weight.shape[1]) if row is None else weight[row] for row in rows])
        return whole.float(), torch.stack([bias.min() if row is None else bias[row] for row in rows]).float()


def fit_probe(
    task: Task,
    train: tuple[dict[str, np.ndarray], Sequence[Example]],
    validation: tuple[dict[str, np.ndarray], Sequence[Example]],
) -> Probe:
    """The probe that does best on validation rows, over kinds of features and strengths of regularisation.

    What the answers decide by is chosen on the same rows. Raises CuetuneError where there is nothing to tell apart.
    """
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    answers = task.answers
    wanted = answers.probe_targets([example.label for example in train[1]])
    known = [example.label for example in validation[1]]
    best: Probe | None = None
    for name, features in train[0].items():
        for strength in STRENGTHS:
            classifier = make_pipeline(StandardScaler(), answers.probe(strength))
            classifier.fit(features, wanted)
            quality = answers.probe_quality(classifier, validation[0][name], known)
            if best is None or quality > best.quality:
                best = Probe(name, strength, classifier, quality, task)
    assert best is not None
    answered = predict_probe(best, task, validation[0], validation[1])
    return replace(best, task=answers.decided(answered, known))


def probe_on(task: Task, features: dict[str, np.ndarray], rows: Sequence[Any]) -> Probe:
    """The probe on all of these labelled rows; what it reads and how strongly is chosen on a fifth of each label's.

    Raises CuetuneError where the rows are all alike.
    """
    answers = task.answers
    fits = np.array(first_of_each(answers.strata([row.label for row in rows]), FIT))
    checks = ~fits if not fits.all() else fits
    parts = [
        (
            {name: each[chosen] for name, each in features.items()},
            [row for row, taken in zip(rows, chosen, strict=True) if taken],
        )
        for chosen in (fits, checks)
    ]
    probe = fit_probe(task, *parts)
    probe.classifier.fit(features[probe.features], answers.probe_targets([row.label for row in rows]))
    return probe


def predict_probe(
    probe: Probe, task: Task, features: dict[str, np.ndarray], rows: Sequence[Example]
) -> list[Prediction]:
    """One prediction per row, probabilities in the task's order of labels, or a number."""
    values = task.answers.probe_values(probe.classifier, features[probe.features])
    answers = probe.task.answers
    return [answers.prediction(row.where, each) for row, each in zip(rows, values.tolist(), strict=True)]
