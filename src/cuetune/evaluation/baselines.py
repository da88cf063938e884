"""A linear probe beside a tuned prompt, on the very states that the prompt's head reads, without the prompt."""

from collections.abc import Iterable, Iterator, Sequence

from cuetune.answers.prediction import Prediction
from cuetune.data.task import Example, Task
from cuetune.errors import CuetuneError
from cuetune.evaluation.features import FrozenFeatures
from cuetune.prediction.base import BasePredictor
from cuetune.prediction.probe import Probe, predict_probe, probe_on


class ProbePredictor(BasePredictor):
    """A fitted probe that answers rows."""

    def __init__(self, task: Task, features: FrozenFeatures, probe: Probe) -> None:
        self.task, self.features, self.probe = task, features, probe

    def answered(
        self, examples: Iterable[Example], *, best_only: bool = False
    ) -> Iterator[tuple[Example, Prediction]]:
        rows = list(examples)
        yield from zip(rows, predict_probe(self.probe, self.task, self.features.of(rows), rows), strict=True)


def probe_beside(task: Task, features: FrozenFeatures, shown: Sequence[Example]) -> dict[str, ProbePredictor]:
    """The probe on these rows, by the name of the baseline; empty where they are too few or all alike."""
    try:
        task.answers.probe_targets([example.label for example in shown])  # raises where there is nothing to learn
        return {"linear probe": ProbePredictor(task, features, probe_on(task, features.of(shown), shown))}
    except (CuetuneError, ValueError):
        return {}
