"""Answers for any number of pictures in constant memory, in the rows' order."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from cuetune.backbones.pictures import Pictures
from cuetune.backbones.seeing import SeeingBackbone
from cuetune.prediction import Prediction
from cuetune.prompts.base import Prompt
from cuetune.readouts import MediaHead
from cuetune.tasks.decoding import decode
from cuetune.tasks.skipped import Skipped
from cuetune.tasks.task import Example, Task


class PicturePredictor:
    """One prompt, ready to answer about pictures. readout: the head that was trained with it.

    skipped: counts pictures that cannot be read, which then get no prediction; None makes the first an error.
    """

    def __init__(
        self,
        backbone: SeeingBackbone,
        task: Task,
        prompt: Prompt,
        readout: MediaHead,
        skipped: Skipped | None = None,
    ) -> None:
        self.backbone, self.task, self.prompt, self.readout, self.skipped = backbone, task, prompt, readout, skipped
        for member in prompt.members:
            backbone.check(member.injection())

    def predict(self, examples: Iterable[Example]) -> Iterator[Prediction]:
        """One prediction for each example, in order. Raises CuetuneError for a picture that cannot be read."""
        for rows, pixels, repeated in decode(examples, self.task, self.backbone.preprocessing, self.skipped):
            for answer, again in zip(self.answers(rows, pixels), repeated, strict=True):
                yield replace(answer, cut=again)

    def answers(self, examples: Sequence[Example], pixels: Tensor) -> list[Prediction]:
        """Predictions for examples whose pixels (B, 3, H, W) are decoded."""
        values = self._values(pixels).tolist()
        return [
            self.task.answers.prediction(example.where, each) for example, each in zip(examples, values, strict=True)
        ]

    @torch.inference_mode()
    def _values(self, pixels: Tensor) -> Tensor:
        """(B, C) probabilities or numbers, on the CPU."""
        pictures = self.readout.rows(Pictures(self.backbone.normalised(pixels)))
        members: Any = self.prompt.members
        injections = [member.for_rows(self.backbone, pictures) for member in members]
        states = self.backbone.hidden_mixed([(pictures, injection) for injection in injections])
        answers = self.task.answers
        said = torch.stack([answers.values(self.readout.scores(self.backbone, hidden)) for hidden in states])
        return self.prompt.combine(said).cpu()
