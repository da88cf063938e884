"""A linear probe on what a frozen model makes of pictures: the baseline that every visual prompt is held against."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from cuetune.backbones.image import ImageBackbone
from cuetune.errors import CuetuneError
from cuetune.methods.probe import Probe, fit_probe, predict_probe
from cuetune.prediction import Prediction
from cuetune.readouts import Head
from cuetune.tasks.decoding import decode, rows_of
from cuetune.tasks.splits import split_examples
from cuetune.tasks.task import Example, Task

AT_ONCE = 32  # pictures in one pass


class PictureFeatures:
    """Features of pictures: one state for each, at the layers and with the poolings that are named.

    reads: pairs of a layer (None: the final states) and a pooling; by default the first state, where there is one, and
    the mean over the patches, at two thirds of the depth and at the end. Every layer costs one pass.
    """

    def __init__(
        self, backbone: ImageBackbone, task: Task, reads: Sequence[tuple[int | None, str]] | None = None
    ) -> None:
        self.backbone, self.task = backbone, task
        middle = max(1, round(backbone.layers * 2 / 3))
        poolings = ("first", "mean") if backbone.n_first else ("mean",)
        self.reads = reads or [(layer, pooling) for layer in (middle, None) for pooling in poolings]

    @torch.inference_mode()
    def of(self, examples: Iterable[Example]) -> dict[str, np.ndarray]:
        """Name of a kind of feature -> (N, d). Raises CuetuneError for a picture that cannot be read."""
        found: dict[str, list[np.ndarray]] = {}
        for _, pixels in decode(rows_of(examples, self.task), self.backbone.preprocessing):
            for batch in pixels.split(AT_ONCE):
                for layer in dict.fromkeys(layer for layer, _ in self.reads):
                    states = self.backbone.states(self.backbone.normalised(batch), layer)
                    for _, pooling in (read for read in self.reads if read[0] == layer):
                        read = self.backbone.pooled(states, pooling).float().cpu().numpy()
                        found.setdefault(_called(layer, pooling), []).append(read)
        return {name: np.concatenate(parts) for name, parts in found.items()}


def _called(layer: int | None, pooling: str) -> str:
    return f"{'last layer' if layer is None else f'layer {layer}'}, {pooling}"


@dataclass(frozen=True)
class LinearProbe:
    """A fitted probe that answers rows as a predictor does."""

    task: Task
    features: PictureFeatures
    probe: Probe

    def predict(self, examples: Iterable[Example]) -> Iterator[Prediction]:
        """One prediction for each example, in order."""
        rows = list(examples)
        yield from predict_probe(self.probe, self.task, self.features.of(rows), rows)


def probe_beside(
    backbone: ImageBackbone, task: Task, shown: Sequence[Example], head: Head | None = None, seed: int = 0
) -> dict[str, LinearProbe]:
    """The probe on the very states that a prompt's head reads, without the prompt; empty where no rows are given.

    How strongly it is regularised is chosen on a fifth of the rows; then it is fitted on all of them.
    """
    if not shown:
        return {}
    reads = [(head.layer, head.pooling)] if head else None
    features = PictureFeatures(backbone, task, reads)
    try:
        splits = split_examples(shown, validation=0.2, test=0.0, seed=seed)
        probe = fit_probe(task, *((features.of(part), part) for part in (splits.train, splits.validation)))
    except (CuetuneError, ValueError):  # so few rows that none can be set aside
        return {}
    whole = features.of(shown)[probe.features]
    probe.classifier.fit(whole, [example.label for example in shown])
    return {"linear probe": LinearProbe(task, features, probe)}
