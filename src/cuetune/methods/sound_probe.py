"""A linear probe on what a frozen model makes of sounds: the baseline that every prompt for sounds is held against."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from cuetune.backbones.audio import AudioBackbone
from cuetune.backbones.sounds import batches_by_length
from cuetune.errors import CuetuneError
from cuetune.methods.probe import Probe, fit_probe, predict_probe
from cuetune.prediction import Prediction
from cuetune.readouts import Head
from cuetune.tasks.splits import split_examples
from cuetune.tasks.task import Example, Task
from cuetune.tuning.heard import HeardSounds


class SoundFeatures:
    """Features of sounds: one state for each, at the layers and with the poolings that are named.

    reads: pairs of a layer (None: the final states) and a pooling; by default the model's own states before the sound,
    where it has any, and the mean over the sound's, at two thirds of the depth and at the end. A sound enters the first
    layer once; every layer that is read costs one pass from there.
    """

    def __init__(
        self, backbone: AudioBackbone, task: Task, reads: Sequence[tuple[int | None, str]] | None = None
    ) -> None:
        self.backbone, self.task = backbone, task
        middle = max(1, round(backbone.layers * 2 / 3))
        poolings = ("first", "mean") if backbone.n_first else ("mean",)
        self.reads = reads or [(layer, pooling) for layer in (middle, None) for pooling in poolings]

    @torch.inference_mode()
    def of(self, examples: Iterable[Example]) -> dict[str, np.ndarray]:
        """Name of a kind of feature -> (N, d). Raises CuetuneError for a recording that cannot be read."""
        heard = HeardSounds(self.backbone, list(examples), self.task)
        found = {read: torch.empty(len(heard), self.backbone.state_width) for read in self.reads}
        for numbers in batches_by_length(heard.lengths):
            sounds = heard.sounds(numbers)
            for layer, pooling in self.reads:
                read: Tensor = self.backbone.features(replace(sounds, layer=layer, pooling=pooling)).cpu()
                found[layer, pooling][numbers] = read
        return {_called(*read): states.numpy() for read, states in found.items()}


def _called(layer: int | None, pooling: str) -> str:
    return f"{'last layer' if layer is None else f'layer {layer}'}, {pooling}"


@dataclass(frozen=True)
class SoundProbe:
    """A fitted probe that answers rows as a predictor does."""

    task: Task
    features: SoundFeatures
    probe: Probe

    def predict(self, examples: Iterable[Example]) -> Iterator[Prediction]:
        """One prediction for each example, in order."""
        rows = list(examples)
        yield from predict_probe(self.probe, self.task, self.features.of(rows), rows)


def sound_probe_beside(
    backbone: AudioBackbone, task: Task, shown: Sequence[Example], head: Head | None = None, seed: int = 0
) -> dict[str, SoundProbe]:
    """The probe on the very states that a prompt's head reads, without the prompt; empty where no rows are given.

    How strongly it is regularised is chosen on a fifth of the rows; then it is fitted on all of them.
    """
    if not shown:
        return {}
    features = SoundFeatures(backbone, task, [(head.layer, head.pooling)] if head else None)
    try:
        splits = split_examples(shown, validation=0.2, test=0.0, seed=seed)
        probe = fit_probe(task, *((features.of(part), part) for part in (splits.train, splits.validation)))
    except (CuetuneError, ValueError):  # so few rows that none can be set aside
        return {}
    whole = features.of(shown)[probe.features]
    probe.classifier.fit(whole, [example.label for example in shown])
    return {"linear probe": SoundProbe(task, features, probe)}
