"""Several labels for each row, or none: an independent yes or no for every label."""

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cuetune.answers.base import Answers, Measured
from cuetune.answers.independent_logistic import IndependentLogistic
from cuetune.answers.prediction import Prediction
from cuetune.data.formats.cells import ABSENT, cell_at
from cuetune.data.labels.cells import is_yes_or_no, joined, names_in, yes_or_no
from cuetune.data.labels.stratification import split_balanced
from cuetune.data.row_error import RowError
from cuetune.errors import CuetuneError
from cuetune.metrics.multi_label import by_label, micro_f1, multi_label_scores
from cuetune.metrics.thresholds import best_thresholds
from cuetune.support.markdown import plain

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from cuetune.data.row import Example, Row
    from cuetune.data.splits import Splits
    from cuetune.data.task import Task

HALF = 0.5
SHOWN = 20  # labels in what is printed


class SeveralLabels(Answers):
    """Multi-label classification: Pr(label) = sigmoid(score), binary cross-entropy, a threshold for each label."""

    kind = "multi-label"
    agreement = "subset accuracy"
    usual_readout = "head"
    in_words = False
    decides = True

    def target(self, row: "Row") -> tuple[str, ...]:
        """The labels of a row in the task's order; a tuple of none is legal."""
        task = self.task
        if columns := self._columns(row):
            pairs = zip(task.labels, columns, strict=True)
            return tuple(label for label, column in pairs if yes_or_no(row, column))
        there = set()
        for name in names_in(row, task.label_column, task.label_delimiter, task.labels):
            label = task.named(name)
            if label is None:
                where = f"{row.where}, column {task.label_column!r}"
                raise RowError("unknown", f"{where}: unknown label {name!r}", f"expected any of {task.known_labels}.")
            there.add(label)
        return tuple(label for label in task.labels if label in there)

    def _columns(self, row: "Row") -> tuple[str, ...]:
        """The columns of 0 and 1 that a row has, one for each label; empty where names stand in one column."""
        task = self.task
        for columns in (task.label_columns, task.labels):
            if columns and all(cell_at(row.values, column) is not ABSENT for column in columns):
                return columns
        if task.label_columns and not super().labelled(row):
            missing = [column for column in task.label_columns if cell_at(row.values, column) is ABSENT]
            short = f"{row.where}: no column {missing[0]!r}"
            raise RowError("column", short, "every label needs its column of 0 and 1.")
        return ()

    def _has_columns(self, row: "Row") -> bool:
        columns = self.task.label_columns or self.task.labels
        return all(cell_at(row.values, column) is not ABSENT for column in columns)

    def labelled(self, row: "Row") -> bool:
        return super().labelled(row) or self._has_columns(row)

    def answered(self, row: "Row") -> bool:
        if not self._has_columns(row):
            return super().answered(row)
        columns = self.task.label_columns or self.task.labels
        return any(is_yes_or_no(cell_at(row.values, column)) for column in columns)

    def checked(self) -> None:
        task = self.task
        if not task.labels:
            raise CuetuneError("a multi-label task needs its labels; name them with --labels.")
        for what, count in (("label columns", len(task.label_columns)), ("thresholds", len(task.thresholds))):
            if count not in (0, len(task.labels)):
                raise CuetuneError(f"{len(task.labels)} labels but {count} {what}; give one for each.")

    def strata(self, targets: Sequence[Any]) -> list[Hashable]:
        """The rarest label of each row; of rows without labels the empty text."""
        counts = Counter(label for labels in targets for label in labels)
        return [min(labels, key=lambda label: (counts[label], label)) if labels else "" for labels in targets]

    def split(self, examples: "Sequence[Example]", **how: Any) -> "Splits":
        return split_balanced(examples, **how)

    def labels_of(self, examples: "Sequence[Example]") -> set[str]:
        return {label for example in examples for label in example.label}

    def losses(self, scores: "Tensor", targets: Sequence[Any]) -> "Tensor":
        """Binary cross-entropy of each row, averaged over the labels."""
        import torch
        import torch.nn.functional as F

        wanted = torch.from_numpy(self.matrix(targets)).to(scores)
        return F.binary_cross_entropy_with_logits(scores, wanted, reduction="none").mean(dim=-1)

    def matrix(self, targets: Sequence[Any]) -> "np.ndarray":
        """(N, C) True where a row has a label."""
        import numpy as np

        place = {label: number for number, label in enumerate(self.task.labels)}
        found = np.zeros((len(targets), len(place)), dtype=bool)
        for row, labels in enumerate(targets):
            found[row, [place[label] for label in labels]] = True
        return found

    def values(self, scores: "Tensor") -> "Tensor":
        return scores.sigmoid()

    @property
    def thresholds(self) -> tuple[float, ...]:
        """The probability from which each label is given."""
        return self.task.thresholds or (HALF,) * len(self.task.labels)

    def prediction(self, where: str, values: Sequence[float], cut: int = 0, limit: int = 0) -> Prediction:

        decided = zip(self.task.labels, values, self.thresholds, strict=True)
        given = tuple(label for label, value, least in decided if value >= least)
        return Prediction(where, given, tuple(values), cut, limit)

    def decided(self, predictions: "Sequence[Prediction]", targets: Sequence[Any]) -> "Task":
        """The task with the thresholds that give each label its best F1 on these rows."""
        from dataclasses import replace

        import numpy as np

        if not predictions:
            return self.task
        values = np.array([prediction.probabilities for prediction in predictions])
        return replace(self.task, thresholds=tuple(best_thresholds(values, self.matrix(targets))))

    def validation(self, predictions: "Sequence[Prediction]", targets: Sequence[Any]) -> dict[str, float]:
        import numpy as np

        truth, values = self.matrix(targets), np.array([each.probabilities for each in predictions])
        right = np.clip(np.where(truth, values, 1 - values), 1e-12, None)
        found = self.matrix([prediction.label for prediction in predictions])
        return {"micro_f1": micro_f1(truth, found), "loss": float(-np.log(right).mean())}

    def measured(self, predictions: "Sequence[Prediction]", targets: Sequence[Any]) -> Measured:
        truth, found = self.matrix(targets), self.matrix([prediction.label for prediction in predictions])
        named = zip(self.task.labels, self.thresholds, by_label(truth, found), strict=True)
        each = [{"label": label, "threshold": least, **scores} for label, least, scores in named]
        return Measured(multi_label_scores(truth, found), per_label=each)

    def probe(self, strength: float) -> Any:
        return IndependentLogistic(strength)

    def probe_targets(self, targets: Sequence[Any]) -> Any:
        wanted = self.matrix(targets)
        if (wanted == wanted[:1]).all():
            raise CuetuneError("a linear probe needs rows that differ in a label.")
        return wanted

    def probe_values(self, estimator: Any, features: Any) -> "np.ndarray":
        scaler, logistic = estimator
        found: np.ndarray = logistic.predict_proba(scaler.transform(features))
        return found

    def described(self, targets: Sequence[Any]) -> list[str]:
        task = self.task
        counts = self.counts(Counter(targets))
        if task.label_columns:
            form = f"columns of 0 and 1: {', '.join(map(repr, task.label_columns[:8]))}"
            form += ", …" if len(task.label_columns) > 8 else ""
        elif task.label_delimiter:
            form = f"cells that {task.label_delimiter!r} divides; --task classification takes each cell as one label"
        else:
            form = "lists of labels"
        none = sum(not labels for labels in targets)
        lines = [f"  multi-label: any number of {len(task.labels)} labels for a row, from {form}"]
        lines += [f"  {label!r}" + (f": {counts[label]:,} rows" if targets else "") for label in task.labels[:SHOWN]]
        lines += [f"  … {len(task.labels)} labels in all"] if len(task.labels) > SHOWN else []
        return [*lines, *([f"  {none:,} rows have no label"] if none else [])]

    def cell(self, value: Any) -> Any:
        """Names in one cell, with what stands between the data's own or a delimiter that no label has."""
        return joined(value, self.task.labels, self.task.label_delimiter) if isinstance(value, tuple) else value

    def columns(self, prediction: Prediction) -> dict[str, Any]:
        return {**super().columns(prediction), "predicted": prediction.label}

    def shown(self, prediction: Prediction) -> list[str]:
        pairs = zip(self.task.labels, prediction.probabilities, strict=True)
        sure = [f"{value:.3f}" for label, value in pairs if label in prediction.label]
        return [", ".join(prediction.label) or "no label", ", ".join(sure) or f"{max(prediction.probabilities):.3f}"]

    @property
    def does(self) -> str:
        labels = self.task.labels
        more = f" and {len(labels) - 6} more" if len(labels) > 6 else ""
        return f"gives each row any number of the labels {', '.join(map(plain, labels[:6]))}{more}"

    def counts(self, targets: Mapping[Any, int]) -> dict[str, int]:
        found = dict.fromkeys(self.task.labels, 0)
        for labels, count in targets.items():
            for label in labels:
                found[label] += count
        return found
