"""One task on images or video in a run: pixels, decoded once."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from cuetune.backbones.batches import ImageBatch
from cuetune.backbones.seeing import SeeingBackbone
from cuetune.data.media.decoded import Decoded
from cuetune.data.media.image_batches import decoded
from cuetune.data.row import Example
from cuetune.data.templating import InputRow
from cuetune.prediction.image import ImagePredictor
from cuetune.prompts.base import Prompt
from cuetune.readouts import image_readout
from cuetune.tuning.runs.base import Run, TaskData, in_batches
from cuetune.tuning.runs.cache import StateCache
from cuetune.tuning.settings import Settings

AT_ONCE = 32  # images in one pass where no gradient is needed


class ImageRun(Run[ImageBatch]):
    """A task's part in a run on this backbone.

    prompt: that of this task. settings: resolved; `validation_rows` are those of this task. folder: of pixels too large
    for memory. `InputRow.cut` of a video with fewer frames than are taken is how many were taken again.
    """

    backbone: SeeingBackbone

    few = AT_ONCE

    def __init__(
        self,
        backbone: SeeingBackbone,
        prompt: Prompt,
        data: TaskData,
        settings: Settings,
        validation_rows: int,
        folder: Path | None = None,
    ) -> None:
        head = image_readout(
            backbone, data.task, settings.readout,
            pooling=settings.pooling, layer=settings.head_layer, seed=settings.seed,
        )  # fmt: skip
        super().__init__(backbone, data, settings, validation_rows, head)
        backbone.check(prompt.injection())
        examples = decoded(data.train, data.task, backbone.preprocessing, folder)
        self._contents = [self._content(example) for example in examples]
        self.rows = [
            InputRow(example.where, example.label, cut=content.repeated)
            for example, content in zip(examples, self._contents, strict=True)
        ]
        self._folder = folder

    def pack(self, numbers: Sequence[int]) -> ImageBatch:
        pixels = torch.stack([self._contents[number].values for number in numbers])
        return self.readout.rows(ImageBatch(pixels, self.backbone.n_states))

    def freeze(self, layer: int, folder: Path | None = None) -> None:
        self.states = StateCache(layer, torch.stack, folder=folder)
        for numbers in in_batches(len(self.rows), AT_ONCE):
            for number, states in zip(numbers, self.below(layer, numbers).cpu(), strict=True):
                self.states.table.put(number, states)

    def below(self, layer: int, numbers: Sequence[int]) -> Tensor:
        """(B, F + N, d)"""
        return self.backbone.states_at(layer, self.pack(numbers))

    def scores(self, prompt: Prompt) -> dict[str, float]:
        self.validation = decoded(self.validation, self.task, self.backbone.preprocessing, self._folder)
        predictor, predictions = ImagePredictor(self.backbone, self.task, prompt, self.readout), []
        for numbers in in_batches(len(self.validation), AT_ONCE):
            examples = [self.validation[number] for number in numbers]
            predictions += predictor.answers(examples, torch.stack([self._content(each).values for each in examples]))
        return self.measured(predictions)

    def _content(self, example: Example) -> Decoded:
        return example.fields[self.task.fields[0]]
