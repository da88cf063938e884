"""What the frozen model makes of rows, as features for a linear probe: the baseline that every prompt is held against.

Each class has `of(examples)`: name of a kind of feature -> (N, d); it raises CuetuneError for an unreadable row.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from cuetune.backbones.audio import AudioBackbone
from cuetune.backbones.batches import TokenBatch
from cuetune.backbones.batches import batches_by_length as batches_of_audio
from cuetune.backbones.seeing import SeeingBackbone
from cuetune.backbones.text import TextBackbone
from cuetune.backbones.video import FramesBackbone
from cuetune.data.media.image_batches import decode
from cuetune.data.row import Example
from cuetune.data.task import Task
from cuetune.data.templating import InputRow
from cuetune.errors import CuetuneError
from cuetune.prediction.text import batches_by_length, renderer_for
from cuetune.prompts.words import hard_prompt
from cuetune.readouts import Head, TextHead
from cuetune.tuning.runs.augmentation import Augmentation
from cuetune.tuning.runs.cache import AudioCache

AT_ONCE = 32  # images in one pass
Read = tuple[int | None, str]  # a layer (None: the final states) and a pooling


class FrozenFeatures(Protocol):
    """What a frozen model makes of rows; one class for each modality."""

    def of(self, examples: Sequence[Example]) -> dict[str, np.ndarray]:
        """Name of a kind of feature -> (N, d)."""


def reads_of(head: Head | None) -> list[Read]:
    """What this head reads."""
    return [(head.layer, head.pooling)] if head else []


def named(layer: int | None, pooling: str) -> str:
    """What features at a layer, None for the final one, are called."""
    return f"{'last layer' if layer is None else f'layer {layer}'}, {pooling}"


class TextFeatures:
    """In a causal model: the last token's state and the mean over the row, at two depths, behind the task's instruction
    as in a zero-shot prompt. In an encoder: the first state and the mean.

    A model that keeps no states at a layer (`keeps_states`) has those of the last alone. Raises CuetuneError for an
    encoder-decoder.
    """

    def __init__(self, backbone: TextBackbone, task: Task) -> None:
        if backbone.writes and not backbone.causal:
            raise CuetuneError(f"no linear probe on {backbone.identity.name}: it is an encoder-decoder.")
        self.backbone, self.task = backbone, task
        ids = hard_prompt(backbone, task).ids if backbone.causal else []
        self.renderer = renderer_for(backbone, task, len(ids) + (0 if backbone.causal else 1))
        self.shared = [*ids, *self.renderer.shared]
        self.middle = max(1, round(backbone.depth * 2 / 3)) if backbone.keeps_states else None
        self.heads = [] if backbone.causal else [TextHead(backbone, task, each) for each in ("first", "mean")]

    @torch.inference_mode()
    def of(self, examples: Sequence[Example]) -> dict[str, np.ndarray]:
        rows = list(self.renderer.render(examples))
        features: dict[str, np.ndarray] = {}
        for batch in batches_by_length(rows):
            for name, values in self._batch([rows[number] for number in batch]).items():
                features.setdefault(name, np.empty((len(rows), values.shape[1]), dtype=np.float32))[batch] = values
        return features

    def _batch(self, rows: Sequence[InputRow]) -> dict[str, np.ndarray]:
        if self.heads:
            pooled = {head.pooling: self.backbone.hidden(head.rows(rows, self.shared)) for head in self.heads}
            return {named(None, pooling): states.float().cpu().numpy() for pooling, states in pooled.items()}
        packed = TokenBatch.of([row.ids for row in rows], self.shared)
        features = {}
        depths = {"last": self.backbone.hidden(packed)}
        if self.middle is not None:
            depths = {"middle": self.backbone.states_at(self.middle, packed, 0)[len(self.shared) :], **depths}
        for depth, states in depths.items():
            each = states.float().cpu().split(list(packed.lengths))
            features[f"{depth} layer, last token"] = torch.stack([row[-1] for row in each]).numpy()
            features[f"{depth} layer, mean"] = torch.stack([row.mean(0) for row in each]).numpy()
        return features


class ImageFeatures:
    """One state for each image, or several to choose from.

    layer: the state that a tuned prompt's head reads by default, as it enters this layer; None: all that the backbone
    offers (`SeeingBackbone.reads`), which costs a pass for each layer. reads: what is read, where it is known.
    """

    def __init__(
        self, backbone: SeeingBackbone, task: Task, layer: int | None = None, reads: Sequence[Read] = ()
    ) -> None:
        self.backbone, self.task = backbone, task
        backbone.check_layer(layer)
        self.reads = reads or ([(layer, backbone.pooling)] if layer else backbone.reads)

    def of(self, examples: Iterable[Example]) -> dict[str, np.ndarray]:
        return self._of(examples, lambda pixels, _: pixels)

    def of_copy(self, examples: Iterable[Example], augmentation: Augmentation, copy: int) -> dict[str, np.ndarray]:
        """As `of`, of images that were changed at random; copy: 0, 1, … of the same images."""
        return self._of(examples, lambda pixels, first: augmentation(pixels, copy, first))

    @torch.inference_mode()
    def _of(self, examples: Iterable[Example], change: Callable[[Tensor, int], Tensor]) -> dict[str, np.ndarray]:
        features: dict[str, list[np.ndarray]] = {}
        done = 0
        for _, pixels, _ in decode(examples, self.task, self.backbone.preprocessing):
            for batch in change(pixels, done).split(AT_ONCE):
                for name, states in self.read(self.backbone.normalised(batch)).items():
                    features.setdefault(name, []).append(states.float().cpu().numpy())
            done += len(pixels)
        return {name: np.concatenate(parts) for name, parts in features.items()}

    def read(self, pixels: Tensor) -> dict[str, Tensor]:
        """Name of a kind of feature -> (B, d) of these images, in one pass for each layer."""
        features = {}
        for layer in dict.fromkeys(layer for layer, _ in self.reads):
            states = self.backbone.states(pixels, layer)
            for _, pooling in (read for read in self.reads if read[0] == layer):
                features[named(layer, pooling)] = self.backbone.pooled(states, pooling)
        return features


class VideoFeatures(ImageFeatures):
    """As those of images; of a model that sees frames alone, the frames' states in order, and their mean.

    The mean, the usual choice, is the same for a video that is played backwards.
    """

    def read(self, pixels: Tensor) -> dict[str, Tensor]:
        if not isinstance(self.backbone, FramesBackbone):
            return super().read(pixels)
        features = {}
        for layer, pooling in self.reads:
            states = self.backbone.hidden(pixels, layer=layer, pooling=pooling)
            name = named(layer, pooling)
            features[f"{name}, frames in order"] = states
            features[f"{name}, mean over frames"] = states.view(len(states), self.backbone.frames, -1).mean(dim=1)
        return features


class AudioFeatures:
    """One state for each audio file, at the layers and with the poolings that are named.

    layer: the state that a tuned prompt's head reads by default, as it enters this layer; None: the model's own states
    before the audio file, where it has any, and the mean over the audio file's, at two thirds of the depth and at the
    end. reads: what is read, where it is known.
    An audio file enters the first layer once; every layer that is read costs one pass from there.
    """

    def __init__(
        self, backbone: AudioBackbone, task: Task, layer: int | None = None, reads: Sequence[Read] = ()
    ) -> None:
        self.backbone, self.task = backbone, task
        middle = max(1, round(backbone.layers * 2 / 3))
        poolings = ("first", "mean") if backbone.n_first else ("mean",)
        free = [(each, pooling) for each in (middle, None) for pooling in poolings]
        self.reads = reads or ([(layer, backbone.pooling)] if layer else free)

    @torch.inference_mode()
    def of(self, examples: Iterable[Example]) -> dict[str, np.ndarray]:
        audio = AudioCache(self.backbone).read(list(examples), self.task)
        features = {read: torch.empty(len(audio), self.backbone.state_width) for read in self.reads}
        for numbers in batches_of_audio(audio.lengths):
            batch = audio.batch(numbers)
            for layer, pooling in self.reads:
                states: Tensor = self.backbone.features(replace(batch, layer=layer, pooling=pooling)).cpu()
                features[layer, pooling][numbers] = states
        return {named(*read): states.numpy() for read, states in features.items()}


FEATURES: dict[str, Any] = {
    "text": TextFeatures,
    "image": ImageFeatures,
    "audio": AudioFeatures,
    "video": VideoFeatures,
}


def features_of(modality: str, backbone: Any, task: Task, layer: int | None = None, head: Head | None = None) -> Any:
    """The features of rows of a modality, by its name. layer: the one that heads of tuned prompts read, where one is
    chosen. head: what it reads is the only feature."""
    if modality == "text":
        return TextFeatures(backbone, task)
    return FEATURES[modality](backbone, task, layer, reads_of(head))
