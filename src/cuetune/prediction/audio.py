"""Answers about audio: labels, or what is said in it."""

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor

from cuetune.answers.prediction import Prediction
from cuetune.backbones.audio import AudioBackbone
from cuetune.backbones.batches import AudioBatch, batches_by_length
from cuetune.backbones.injection import Injection
from cuetune.backbones.whisper import WhisperBackbone
from cuetune.data.media.audio_batches import listen
from cuetune.data.row import Example
from cuetune.data.skip_report import Skipped
from cuetune.data.task import Task
from cuetune.prediction.base import PromptPredictor, commonest
from cuetune.prompts.base import Prompt
from cuetune.prompts.hard import HardPrompt
from cuetune.readouts import MediaHead, Transcript, audio_readout
from cuetune.readouts.transcript import MOST


class AudioPredictor(PromptPredictor[AudioBatch]):
    """One prompt, ready to answer about audio. readout: the head that was trained with it, or what writes.

    skipped: counts audio files that cannot be read, which then get no prediction; None makes the first an error.
    """

    backbone: AudioBackbone

    def __init__(
        self,
        backbone: AudioBackbone,
        task: Task,
        prompt: Prompt,
        readout: MediaHead | Transcript,
        skipped: Skipped | None = None,
    ) -> None:
        super().__init__(backbone, task, prompt, readout)
        self.skipped = skipped
        for member in prompt.members:
            backbone.check(member.injection())

    def answered(self, examples: Iterable[Example], *, best_only: bool = False) -> Iterator[tuple[Example, Prediction]]:
        for rows, waves in listen(examples, self.task, self.backbone.hearing, self.skipped):
            yield from zip(rows, self.answers(rows, waves), strict=True)

    @torch.inference_mode()
    def answers(self, examples: Sequence[Example], waves: Sequence[Tensor]) -> list[Prediction]:
        """Predictions for examples whose waves (n,) are decoded; those of like length go through together."""
        longest = int(self.readout.at_least * self.backbone.hearing.rate)
        step = self.backbone.hearing.rate // 50  # the most states that any of the models makes of a second
        answers: dict[int, Prediction] = {}
        for numbers in batches_by_length([max(len(wave), longest) // step + 1 for wave in waves]):
            batch = AudioBatch([waves[number] for number in numbers], at_least=self.readout.at_least)
            of_batch = self._answers([examples[number].where for number in numbers], batch)
            answers |= dict(zip(numbers, of_batch, strict=True))
        return [answers[number] for number in range(len(waves))]

    def _answers(self, where: Sequence[str], batch: AudioBatch) -> list[Prediction]:
        injections = [
            member.for_rows(self.backbone, batch).detached(self.backbone.dtype) for member in self.prompt.members
        ]
        if isinstance(self.readout, Transcript):
            texts = self._written(batch, injections)
            return [Prediction(place, text) for place, text in zip(where, texts, strict=True)]
        packed = self.readout.rows(batch)
        values = self.values_of([(packed, injection) for injection in injections])
        return [self.task.answers.prediction(place, each) for place, each in zip(where, values, strict=True)]

    def _written(self, batch: AudioBatch, injections: Sequence[Injection]) -> list[str]:
        assert isinstance(self.backbone, WhisperBackbone)  # nothing else is given a transcript to write
        start = self.readout.start
        each = [self.readout.texts(self.backbone.write(batch, one, start, MOST)) for one in injections]
        return [commonest(texts) for texts in zip(*each, strict=True)]


def untuned(backbone: AudioBackbone, task: Task) -> AudioPredictor:
    """The frozen model alone, which writes what it hears."""
    return AudioPredictor(backbone, task, HardPrompt([], torch.empty(0, backbone.width)), audio_readout(backbone, task))
