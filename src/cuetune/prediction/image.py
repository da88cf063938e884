"""Answers about images and video."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from torch import Tensor

from cuetune.answers.prediction import Prediction
from cuetune.backbones.batches import ImageBatch
from cuetune.backbones.seeing import SeeingBackbone
from cuetune.data.media.image_batches import decode
from cuetune.data.row import Example
from cuetune.data.skip_report import Skipped
from cuetune.data.task import Task
from cuetune.prediction.base import PromptPredictor
from cuetune.prompts.base import Prompt
from cuetune.readouts import MediaHead


class ImagePredictor(PromptPredictor[ImageBatch]):
    """One prompt, ready to answer about images or video. readout: the head that was trained with it.

    skipped: counts rows that cannot be read, which then get no prediction; None makes the first an error.
    """

    backbone: SeeingBackbone

    def __init__(
        self, backbone: SeeingBackbone, task: Task, prompt: Prompt, readout: MediaHead, skipped: Skipped | None = None
    ) -> None:
        super().__init__(backbone, task, prompt, readout)
        self.skipped = skipped
        for member in prompt.members:
            backbone.check(member.injection())

    def answered(self, examples: Iterable[Example], *, best_only: bool = False) -> Iterator[tuple[Example, Prediction]]:
        for rows, pixels, repeated in decode(examples, self.task, self.backbone.preprocessing, self.skipped):
            for example, answer, again in zip(rows, self.answers(rows, pixels), repeated, strict=True):
                yield example, replace(answer, cut=again)

    def answers(self, examples: Sequence[Example], pixels: Tensor) -> list[Prediction]:
        """Predictions for examples whose pixels (B, 3, H, W) are decoded."""
        batch = self.readout.rows(ImageBatch(self.backbone.normalised(pixels)))
        values = self.values_of([(batch, member.for_rows(self.backbone, batch)) for member in self.prompt.members])
        return [
            self.task.answers.prediction(example.where, each) for example, each in zip(examples, values, strict=True)
        ]
