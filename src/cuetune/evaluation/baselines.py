"""A linear probe beside a tuned prompt, on the very states that the prompt's head reads, without the prompt."""

from collections.abc import Iterable, Iterator, Sequence

from cuetune.answers.prediction import Prediction
from cuetune.backbones.base import Backbone
from cuetune.backbones.generation import Writing
from cuetune.backbones.registry import modality_of
from cuetune.backbones.text import TextBackbone
from cuetune.backbones.whisper import WhisperBackbone
from cuetune.data.row import Example
from cuetune.data.task import Task
from cuetune.errors import CuetuneError
from cuetune.evaluation.evaluate import Source, in_words
from cuetune.evaluation.features import FrozenFeatures, features_of
from cuetune.prediction.audio import untuned
from cuetune.prediction.base import BasePredictor
from cuetune.prediction.probe import Probe, predict_probe, probe_on
from cuetune.readouts import Head


class ProbePredictor(BasePredictor):
    """A fitted probe that answers rows."""

    def __init__(self, task: Task, features: FrozenFeatures, probe: Probe) -> None:
        self.task, self.features, self.probe = task, features, probe

    def answered(self, examples: Iterable[Example], *, best_only: bool = False) -> Iterator[tuple[Example, Prediction]]:
        rows = list(examples)
        yield from zip(rows, predict_probe(self.probe, self.task, self.features.of(rows), rows), strict=True)


def probe_beside(task: Task, features: FrozenFeatures, shown: Sequence[Example]) -> dict[str, ProbePredictor]:
    """The probe on these rows, by the name of the baseline; empty where they are too few or all alike."""
    try:
        task.answers.probe_targets([example.label for example in shown])  # raises where there is nothing to learn
        return {"linear probe": ProbePredictor(task, features, probe_on(task, features.of(shown), shown))}
    except (CuetuneError, ValueError):
        return {}


def baselines_for(
    backbone: Backbone,
    task: Task,
    shown: Sequence[Example],
    *,
    head: Head | None = None,
    shots: int = 8,
    seed: int = 0,
    writing: Writing | None = None,
) -> dict[str, Source]:
    """What a tuned prompt is held against, by name. shown: labelled rows that may be learned from.

    For texts the same task in words; for all else, several labels and numbers a linear probe; for transcripts the model
    without a prompt. head: what it reads is the only feature of the probe.
    """
    if isinstance(backbone, TextBackbone) and task.answers.in_words:
        return dict(in_words(backbone, task, shown, shots, seed, writing))
    if isinstance(backbone, WhisperBackbone) and task.generates:
        return {"untuned": untuned(backbone, task)}
    try:
        features = features_of(modality_of(backbone).name, backbone, task, head=head)
    except CuetuneError:
        if isinstance(backbone, TextBackbone):  # a model that has no features for a probe
            return {}
        raise
    return dict(probe_beside(task, features, shown))
