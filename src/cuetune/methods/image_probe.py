"""Features of pictures for a linear probe: the baseline that every visual prompt is held against."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from cuetune.backbones.seeing import SeeingBackbone
from cuetune.tasks.decoding import decode
from cuetune.tasks.task import Example, Task
from cuetune.tuning.runs.augmentation import Augmentation

AT_ONCE = 32  # pictures in one pass


class PictureFeatures:
    """Features of pictures: one state for each, or several to choose from.

    layer: the state that a tuned prompt's head reads by default, as it enters this layer; None: all that the backbone
    offers (`SeeingBackbone.reads`), which costs a pass for each layer.
    reads: the pairs of a layer (None: the final states) and a pooling, where they are known.
    """

    def __init__(
        self,
        backbone: SeeingBackbone,
        task: Task,
        layer: int | None = None,
        reads: Sequence[tuple[int | None, str]] = (),
    ) -> None:
        self.backbone, self.task = backbone, task
        backbone.check_layer(layer)
        self.reads = reads or ([(layer, backbone.pooling)] if layer else backbone.reads)

    def of(self, examples: Iterable[Example]) -> dict[str, np.ndarray]:
        """Name of a kind of feature -> (N, d). Raises CuetuneError for a picture that cannot be read."""
        return self._of(examples, lambda pixels, _: pixels)

    def of_copy(self, examples: Iterable[Example], augmentation: Augmentation, copy: int) -> dict[str, np.ndarray]:
        """As `of`, of pictures that were changed at random; copy: 0, 1, … of the same pictures."""
        return self._of(examples, lambda pixels, first: augmentation(pixels, copy, first))

    @torch.inference_mode()
    def _of(self, examples: Iterable[Example], change: Callable[[Tensor, int], Tensor]) -> dict[str, np.ndarray]:
        found: dict[str, list[np.ndarray]] = {}
        done = 0
        for _, pixels, _ in decode(examples, self.task, self.backbone.preprocessing):
            for batch in change(pixels, done).split(AT_ONCE):
                for name, read in self.read(self.backbone.normalised(batch)).items():
                    found.setdefault(name, []).append(read.float().cpu().numpy())
            done += len(pixels)
        return {name: np.concatenate(parts) for name, parts in found.items()}

    def read(self, pixels: Tensor) -> dict[str, Tensor]:
        """Name of a kind of feature -> (B, d) of these pictures, in one pass for each layer."""
        found = {}
        for layer in dict.fromkeys(layer for layer, _ in self.reads):
            states = self.backbone.states(pixels, layer)
            for _, pooling in (read for read in self.reads if read[0] == layer):
                found[called(layer, pooling)] = self.backbone.pooled(states, pooling)
        return found


def called(layer: int | None, pooling: str) -> str:
    return f"{'last layer' if layer is None else f'layer {layer}'}, {pooling}"
