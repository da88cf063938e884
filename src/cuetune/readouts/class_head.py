"""The classes that a model was trained on as a head: no new numbers, each label borrows a class (ILM-VP)."""

from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from cuetune.answers import refuse
from cuetune.backbones.seeing import SeeingBackbone
from cuetune.data.task import Task
from cuetune.errors import CuetuneError
from cuetune.readouts.class_mapping import ClassMapping
from cuetune.readouts.head import Head
from cuetune.readouts.image_head import ImageHead
from cuetune.tuning.settings import Settings


class ClassHead(ImageHead):
    """Row c of W (C, d) is the row of the model's classifier that stands for label c; nothing of it is trained.

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
        """Let the class that the model most often says of a label's pictures stand for the label.

        states: (N, d) of pictures with these labels, under the prompt as it is.
        """
        weight, bias = self.own
        said = F.linear(states.to(weight), weight, bias).argmax(dim=1).cpu()
        numbers = torch.tensor([self.index[str(label)] for label in labels])
        mapping = ClassMapping.by_frequency(said, numbers, len(self.names), len(self.labels))
        self.sources.copy_(mapping.sources)
        self.weight.copy_(weight[mapping.sources])
        self.bias.copy_(bias[mapping.sources])

    def kept(self) -> Head:
        """As a head like any other, with the classes' names."""
        return replace(super().kept(), classes=tuple(self.names[number] for number in self.sources.tolist()))


def image_readout(backbone: SeeingBackbone, task: Task, settings: Settings) -> ImageHead:
    """The readout that was asked for: "head" (or "auto") is trained, "classes" are the model's own.

    Raises CuetuneError for a readout of texts, and for classes with options of a trained head.
    """
    if settings.readout in ("auto", "head"):
        return ImageHead(backbone, task, settings.pooling, settings.head_layer, settings.seed)
    if settings.readout != "classes":
        raise CuetuneError(f"--readout {settings.readout}: of pictures a head reads answers, or the model's classes.")
    refuse(task, "--readout classes")
    if settings.pooling is not None or settings.head_layer is not None:
        raise CuetuneError("--readout classes reads what the model's classifier does; leave --pooling, --head-layer.")
    return ClassHead(backbone, task)
