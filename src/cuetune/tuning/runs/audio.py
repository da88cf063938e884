"""One task on audio in a run: what enters the first layer, computed once unless the prompt changes it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cuetune.backbones.audio import AudioBackbone
from cuetune.backbones.batches import AudioBatch, batches_by_length
from cuetune.backbones.whisper import WhisperBackbone, injection_tokens
from cuetune.data.row import Example
from cuetune.data.templating import InputRow
from cuetune.prompts.base import Prompt
from cuetune.readouts import Transcript, audio_readout
from cuetune.tuning.runs.base import Run, TaskData
from cuetune.tuning.runs.cache import AudioCache
from cuetune.tuning.settings import Settings


class AudioRun(Run[AudioBatch]):
    """A task's part in a run on this backbone.

    prompt: that of this task. settings: resolved; `validation_rows` are those of this task. folder: of what is too
    large for memory. Labels are told apart by a head that is trained with the prompt; free text is written by Whisper.
    """

    backbone: AudioBackbone

    few = 4

    def __init__(
        self,
        backbone: AudioBackbone,
        prompt: Prompt,
        data: TaskData,
        settings: Settings,
        validation_rows: int,
        folder: Path | None = None,
    ) -> None:
        readout = audio_readout(
            backbone, data.task, pooling=settings.pooling, layer=settings.head_layer, seed=settings.seed
        )
        super().__init__(backbone, data, settings, validation_rows, readout)
        injection = prompt.injection()
        backbone.check(injection)
        self._raw, self._folder = injection.inputs is not None, folder
        self.audio = self._read(data.train)
        self.rows = _rows(data.train)
        if isinstance(readout, Transcript) and isinstance(backbone, WhisperBackbone):
            n_tokens = injection_tokens(injection, backbone.layers)
            readout.check_room([*self.rows, *self.validation], backbone.positions, n_tokens)
        self._validation: AudioCache | None = None

    def _read(self, examples: Sequence[Example]) -> AudioCache:
        at_least = self.readout.at_least
        cache = AudioCache(self.backbone, at_least=at_least, raw=self._raw, folder=self._folder)
        return cache.read(examples, self.task)

    def pack(self, numbers: Sequence[int]) -> AudioBatch:
        batch = self.audio.batch(numbers) if self.states is None else self.audio.bare(numbers)
        return self.readout.rows(batch, self.rows_of(numbers))

    def whole(self, numbers: Sequence[int]) -> AudioBatch:
        return self.readout.rows(self.audio.batch(numbers), self.rows_of(numbers))

    def freeze(self, layer: int, folder: Path | None = None) -> None:
        self.states = self.audio.at_layer(layer)

    def below(self, layer: int, numbers: Sequence[int]) -> Tensor:
        """(B, F + T, d), padded behind."""
        return self.backbone.states_at(layer, self.audio.batch(numbers))

    def size(self, numbers: Sequence[int]) -> int:
        return sum(self.audio.lengths[number] for number in numbers)

    @torch.no_grad()
    def scores(self, prompt: Prompt) -> dict[str, float]:
        """The validation audio files are decoded once."""
        if self._validation is None or len(self._validation) < len(self.validation):
            audio = self._read(self.validation)
            self._validation = audio.at_layer(self.states.layer) if self.states is not None else audio
        rows, losses, values = _rows(self.validation), 0.0, dict[int, list[float]]()
        for numbers in batches_by_length(self._validation.lengths[: len(self.validation)]):
            batch = [rows[number] for number in numbers]
            packed = self.readout.rows(self._validation.batch(numbers), batch)
            hidden = self._hidden(packed, self._validation.layer, prompt)
            losses += float(self.readout.row_losses(self.backbone, hidden, batch).sum())
            if self.head is not None:
                scored = self.task.answers.values(self.head.scores(self.backbone, hidden)).tolist()
                values |= dict(zip(numbers, scored, strict=True))
        loss = {"loss": losses / len(self.validation)}
        if self.head is None:
            return loss
        predictions = [self.task.answers.prediction("", values[number]) for number in range(len(self.validation))]
        return {**self.measured(predictions), **loss}

    def _hidden(self, batch: Any, layer: int, prompt: Prompt) -> Tensor:
        injection = prompt.for_rows(self.backbone, batch)
        if layer:
            return self.backbone.hidden_from(layer, batch.states, batch, injection)
        return self.backbone.hidden(batch, injection)


def _rows(examples: Sequence[Example]) -> list[InputRow]:
    return [InputRow(example.where, example.label) for example in examples]
