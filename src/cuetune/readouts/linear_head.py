"""A trained head: a linear classifier on one state of each row, learned together with the prompt."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cuetune.backbones.base import Backbone
from cuetune.backbones.batches import AudioBatch, ImageBatch, TokenBatch
from cuetune.backbones.media import POOLINGS as MEDIA_POOLINGS
from cuetune.backbones.media import MediaBackbone
from cuetune.backbones.seeing import SeeingBackbone
from cuetune.backbones.text import TextBackbone
from cuetune.backbones.tokens import surroundings
from cuetune.data.task import Task
from cuetune.data.templating import InputRow
from cuetune.errors import CuetuneError
from cuetune.readouts.base import LabelReadout, TextReadout
from cuetune.readouts.class_mapping import ClassMapping

POOLINGS = ("first", "last", "mean")
Encoded = TypeVar("Encoded", ImageBatch, AudioBatch)


@dataclass(frozen=True)
class Head:
    """A trained head as it is kept: the states that it pools, its weight (C, d) and its bias (C,).

    layer: it reads the states that enter this layer; None reads the final ones.
    classes: those of the model's own classes whose rows it holds, one for each label; empty for a trained head.
    """

    pooling: str
    weight: Tensor
    bias: Tensor
    layer: int | None = None
    classes: tuple[str, ...] = ()

    @property
    def n_kept(self) -> int:
        """How many numbers it has."""
        return self.weight.numel() + self.bias.numel()

    @property
    def n_trained(self) -> int:
        """How many of them were learned."""
        return 0 if self.classes else self.n_kept

    def check_shape(self, weight: Tensor, bias: Tensor) -> None:
        """Raise CuetuneError unless it has the sizes of these: a row for each label, of the width of a state."""
        if self.weight.shape != weight.shape or self.bias.shape != bias.shape:
            raise CuetuneError(
                f"a head of {tuple(self.weight.shape)} numbers, but {len(weight)} labels and states of "
                f"{weight.shape[1]} numbers need {tuple(weight.shape)}; load it as it was saved."
            )


class LinearHead(LabelReadout, nn.Module):
    """A trained classifier on one state of each row, W h + b with W (C, d) (P-tuning v2, Liu et al. 2022, section 3.3).

    pooling: which state h is; by default what the backbone was made for. layer: reads the states that enter this
    layer, None the final ones. States of the prompt are never read.
    W starts small and random, b at zero, both float32. Trained: `parameters()`; kept: `kept()`.
    """

    poolings: ClassVar[tuple[str, ...]] = POOLINGS

    def __init__(
        self, backbone: Backbone[Any], task: Task, pooling: str | None = None, layer: int | None = None, seed: int = 0
    ) -> None:
        nn.Module.__init__(self)
        LabelReadout.__init__(self, task)
        self.pooling, self.layer = pooling or backbone.pooling, layer
        if self.pooling not in self.poolings:
            raise CuetuneError(f"--pooling {self.pooling}: not known here; choose one of {', '.join(self.poolings)}.")
        start = torch.randn(task.answers.n_scores, backbone.state_width, generator=torch.Generator().manual_seed(seed))
        self.weight = nn.Parameter((0.02 * start).to(backbone.device))
        self.bias = nn.Parameter(torch.zeros(task.answers.n_scores, device=backbone.device))

    @classmethod
    def of(cls, backbone: Backbone[Any], task: Task, head: Head) -> Self:
        """A kept head at work. Raises CuetuneError for one with other labels or for states of another width."""
        readout = cls(backbone, task, head.pooling, head.layer)
        head.check_shape(readout.weight, readout.bias)
        readout.load_state_dict({"weight": head.weight, "bias": head.bias})
        return readout

    def kept(self) -> Head:
        """The head without its backbone."""
        return Head(self.pooling, self.weight.detach().cpu(), self.bias.detach().cpu(), self.layer)

    def scores(self, backbone: Backbone[Any], hidden: Tensor) -> Tensor:
        """Logits (B, C) from the pooled states (B, d)."""
        return F.linear(hidden.float(), self.weight, self.bias)


class TextHead(LinearHead, TextReadout):
    """A head on texts: h is the row's "first" state ([CLS]), its "last" one, or the "mean" over the row."""

    def __init__(
        self, backbone: TextBackbone, task: Task, pooling: str | None = None, layer: None = None, seed: int = 0
    ) -> None:
        super().__init__(backbone, task, pooling, layer, seed)
        if backbone.writes and self.pooling == "first":
            raise CuetuneError("the first state of a causal model has read nothing; pool the last one or the mean.")
        self._apart = backbone.writes  # what rows share is not part of them
        self._behind = [] if backbone.writes else surroundings(backbone.tokenizer)[1]

    @property
    def n_answer(self) -> int:
        return len(self._behind)

    def rows(self, rendered: Sequence[InputRow], shared: Sequence[int]) -> TokenBatch:
        """Pack rows, in an encoder as whole texts, beginning and end tokens included."""
        start, apart = ((), shared) if self._apart else (shared, ())
        whole = TokenBatch.of([[*start, *row.ids, *self._behind] for row in rendered], apart)
        lengths = torch.tensor(whole.lengths)
        ends = lengths.cumsum(0)
        if self.pooling == "mean":
            return replace(whole, pool=torch.repeat_interleave(torch.arange(len(lengths)), lengths))
        return replace(whole, read=ends - 1 if self.pooling == "last" else ends - lengths)


class MediaHead(LinearHead):
    """A head on images, video or audio (VPT, Jia et al. 2022, section 3.2): h is the "first" state or the "mean".

    The mean is over the states of the row itself: patches, or moments of audio. "first" of a model with several states
    before those is their mean.
    """

    poolings = MEDIA_POOLINGS
    at_least = 0.0  # seconds of audio: nothing is added to a row

    def __init__(
        self,
        backbone: MediaBackbone[Any],
        task: Task,
        pooling: str | None = None,
        layer: int | None = None,
        seed: int = 0,
    ) -> None:
        backbone.check_layer(layer)
        super().__init__(backbone, task, pooling, layer, seed)

    def rows(self, batch: Encoded, rows: Sequence[Any] = ()) -> Encoded:
        """The batch with what is read of each row; whatever the rows are, it is the same."""
        return replace(batch, layer=self.layer, pooling=self.pooling)


class ClassHead(MediaHead):
    """The classes that a model was trained on as a head: row c of W (C, d) is that of the class that stands for label
    c (ILM-VP). Nothing of it is trained.

    Which class that is follows from what the prompted model says, before the first step and after every pass over the
    data: `remap` (iterative label mapping, Chen et al., CVPR 2023). sources: (C,) those classes.
    Raises CuetuneError for a model whose classes are no linear function of its state, or has fewer than labels.
    """

    remaps = True

    def __init__(self, backbone: SeeingBackbone, task: Task) -> None:
        super().__init__(backbone, task)
        self.requires_grad_(False)
        self.own, self.names = backbone.classifier(), backbone.classes
        self.sources: Tensor
        self.register_buffer("sources", ClassMapping.at_random(len(self.names), len(task.labels)).sources)

    def remap(self, states: Tensor, labels: Sequence[str | None]) -> None:
        """Let the class that the model most often says of a label's images stand for the label.

        states: (N, d) of images with these labels, under the prompt as it is.
        """
        weight, bias = self.own
        predicted = F.linear(states.to(weight), weight, bias).argmax(dim=1).cpu()
        numbers = torch.tensor([self.index[str(label)] for label in labels])
        mapping = ClassMapping.by_frequency(predicted, numbers, len(self.names), len(self.labels))
        self.sources.copy_(mapping.sources)
        self.weight.copy_(weight[mapping.sources])
        self.bias.copy_(bias[mapping.sources])

    def kept(self) -> Head:
        """As a head like any other, with the classes' names."""
        return replace(super().kept(), classes=tuple(self.names[number] for number in self.sources.tolist()))
