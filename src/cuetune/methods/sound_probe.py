"""Features of sounds for a linear probe: the baseline that every prompt for sounds is held against."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from cuetune.backbones.audio import AudioBackbone
from cuetune.backbones.sounds import batches_by_length
from cuetune.tasks.task import Example, Task
from cuetune.tuning.runs.cache import AudioCache


class SoundFeatures:
    """Features of sounds: one state for each, at the layers and with the poolings that are named.

    layer: the state that a tuned prompt's head reads by default, as it enters this layer; None: the model's own states
    before the sound, where it has any, and the mean over the sound's, at two thirds of the depth and at the end.
    reads: the pairs of a layer (None: the final states) and a pooling, where they are known.
    A sound enters the first layer once; every layer that is read costs one pass from there.
    """

    def __init__(
        self,
        backbone: AudioBackbone,
        task: Task,
        layer: int | None = None,
        reads: Sequence[tuple[int | None, str]] = (),
    ) -> None:
        self.backbone, self.task = backbone, task
        middle = max(1, round(backbone.layers * 2 / 3))
        poolings = ("first", "mean") if backbone.n_first else ("mean",)
        free = [(each, pooling) for each in (middle, None) for pooling in poolings]
        self.reads = reads or ([(layer, backbone.pooling)] if layer else free)

    @torch.inference_mode()
    def of(self, examples: Iterable[Example]) -> dict[str, np.ndarray]:
        """Name of a kind of feature -> (N, d). Raises CuetuneError for a recording that cannot be read."""
        audio = AudioCache(self.backbone).read(list(examples), self.task)
        found = {read: torch.empty(len(audio), self.backbone.state_width) for read in self.reads}
        for numbers in batches_by_length(audio.lengths):
            sounds = audio.batch(numbers)
            for layer, pooling in self.reads:
                read: Tensor = self.backbone.features(replace(sounds, layer=layer, pooling=pooling)).cpu()
                found[layer, pooling][numbers] = read
        return {_called(*read): states.numpy() for read, states in found.items()}


def _called(layer: int | None, pooling: str) -> str:
    return f"{'last layer' if layer is None else f'layer {layer}'}, {pooling}"
