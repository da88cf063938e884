"""One task on pictures in a run: its pixels decoded once, how answers are read, and how the prompt does on it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cuetune.backbones.pictures import Pictures
from cuetune.backbones.seeing import SeeingBackbone
from cuetune.errors import CuetuneError
from cuetune.picture_prediction import PicturePredictor
from cuetune.prompts.base import Prompt
from cuetune.readouts import MediaHead, image_readout
from cuetune.tasks.decoding import rows_of
from cuetune.tuning.decoded import DecodedPictures
from cuetune.tuning.settings import Settings
from cuetune.tuning.states import StateTable
from cuetune.tuning.task_run import TaskData

AT_ONCE = 32  # pictures in one pass where no gradient is needed


@dataclass(frozen=True)
class Shown:
    """One picture of a run, as `Rendered` is one text. number: its place among those that were decoded.

    cut: of a clip with fewer frames than are taken, how many were taken again.
    """

    where: str
    number: int
    label: str | None
    cut: int = 0


class FrozenPictures:
    """The states of every picture to tune on as they enter `layer`: computed once, F + N of them for each picture."""

    def __init__(self, backbone: SeeingBackbone, pixels: DecodedPictures, layer: int, folder: Path | None) -> None:
        self.layer, self.shape = layer, (-1, backbone.n_states, backbone.width)
        sizes = dict.fromkeys(range(len(pixels.rows)), backbone.n_states)
        self.table = StateTable(sizes, backbone.width, backbone.dtype, folder)
        for numbers in _in_batches(len(pixels.rows)):
            states = backbone.states_at(layer, Pictures(pixels.of(numbers)))
            self.table.put(numbers, states.flatten(0, 1).cpu())

    def of(self, numbers: Sequence[int]) -> Tensor:
        """(B, F + N, d) the states of these pictures, in this order."""
        return self.table.of(numbers).view(self.shape)


class ImageRun:
    """A task's part in a run on this backbone, with the same parts as `TaskRun` has for texts.

    prompt: that of this task. settings: resolved; `validation_rows` are those of this task. folder: of pixels too large
    for memory.
    """

    def __init__(
        self,
        backbone: SeeingBackbone,
        prompt: Prompt,
        data: TaskData,
        settings: Settings,
        validation_rows: int,
        folder: Path | None = None,
    ) -> None:
        if not data.train:
            raise CuetuneError(f"{data.task.name}: no pictures to tune on.")
        self.backbone, self.task, self.settings = backbone, data.task, settings
        self.readout = self.training_readout = image_readout(
            backbone, data.task, settings.readout,
            pooling=settings.pooling, layer=settings.head_layer, seed=settings.seed,
        )  # fmt: skip
        backbone.check(prompt.injection())
        self.pixels = DecodedPictures(list(rows_of(data.train, data.task)), backbone.preprocessing, folder=folder)
        repeated = [int(row.values.get("repeated", 0)) for row in self.pixels.rows]
        self.rows = [Shown(each.where, n, each.label, repeated[n]) for n, each in enumerate(data.train)]
        self.validation = list(data.validation)[:validation_rows]
        self._seen: DecodedPictures | None = None
        self.states: FrozenPictures | None = None

    @property
    def head(self) -> MediaHead:
        """The classifier that is trained with the prompt."""
        return self.readout

    @torch.no_grad()
    def states_of(self, prompt: Prompt, numbers: Sequence[int]) -> Tensor:
        """(B, d) what the readout reads of these pictures under the prompt."""
        pictures: Any = self.pack(self.rendered(numbers))
        return self.backbone.hidden_mixed([(pictures, prompt.for_rows(self.backbone, pictures))])[0]  # type: ignore[arg-type]

    def rendered(self, numbers: Sequence[int]) -> list[Shown]:
        """These pictures, not yet as pixels."""
        return [self.rows[number] for number in numbers]

    def pack(self, rows: Sequence[Shown]) -> Pictures:
        """Pictures as they go through the backbone."""
        return self.readout.rows(Pictures(self.pixels.of([row.number for row in rows]), self.backbone.n_states))

    def freeze(self, layer: int, folder: Path | None = None) -> None:
        """Compute the states below `layer`, which the prompt cannot change, once for every picture."""
        self.states = FrozenPictures(self.backbone, self.pixels, layer, folder)

    def frozen_flops(self) -> float:
        """Operations that `freeze` took, counted on one batch."""
        from torch.utils.flop_counter import FlopCounterMode

        if self.states is None:
            return 0.0
        numbers = range(min(AT_ONCE, len(self.rows)))
        with FlopCounterMode(display=False) as below:
            self.backbone.states_at(self.states.layer, Pictures(self.pixels.of(numbers)))
        return below.get_total_flops() * len(self.rows) / len(numbers)

    def scores(self, prompt: Prompt) -> dict[str, float]:
        """Loss and a score on the validation pictures, which are decoded once. prompt: that of this task."""
        if self._seen is None:
            self._seen = DecodedPictures(list(rows_of(self.validation, self.task)), self.backbone.preprocessing)
        predictor = PicturePredictor(self.backbone, self.task, prompt, self.readout)
        predictions = []
        for numbers in _in_batches(len(self.validation)):
            where = [self.validation[number].where for number in numbers]
            predictions += predictor.answers(where, self._seen.of(numbers))
        return self.task.answers.validation(predictions, [example.label for example in self.validation])


def _in_batches(count: int) -> list[range]:
    return [range(first, min(count, first + AT_ONCE)) for first in range(0, count, AT_ONCE)]
