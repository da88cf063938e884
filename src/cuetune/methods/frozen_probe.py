"""A linear probe beside a tuned prompt, on the very states that the prompt's head reads, without the prompt."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from cuetune.errors import CuetuneError
from cuetune.methods.probe import Probe, predict_probe, probe_on
from cuetune.prediction import Prediction
from cuetune.readouts import Head
from cuetune.tasks.task import Example, Task


class FrozenFeatures(Protocol):
    """What a frozen model makes of rows; one class for each modality."""

    def of(self, examples: Iterable[Example]) -> dict[str, np.ndarray]:
        """Name of a kind of feature -> (N, d). Raises CuetuneError for a row that cannot be read."""


@dataclass(frozen=True)
class FrozenProbe:
    """A fitted probe that answers rows as a predictor does."""

    task: Task
    features: FrozenFeatures
    probe: Probe

    def predict(self, examples: Iterable[Example]) -> Iterator[Prediction]:
        """One prediction for each example, in order."""
        rows = list(examples)
        yield from predict_probe(self.probe, self.task, self.features.of(rows), rows)


def read_by(head: Head | None) -> list[tuple[int | None, str]]:
    """What this head reads, as features name it: a layer (None: the final states) and a pooling."""
    return [(head.layer, head.pooling)] if head else []


def probe_beside(task: Task, features: FrozenFeatures, shown: Sequence[Example]) -> dict[str, FrozenProbe]:
    """The probe on these rows, by the name of the baseline; empty where they are too few or all alike."""
    try:
        task.answers.probe_targets([example.label for example in shown])  # raises where there is nothing to learn
        return {"linear probe": FrozenProbe(task, features, probe_on(task, features.of(shown), shown))}
    except (CuetuneError, ValueError):
        return {}
