"""Answers for any number of recordings in constant memory, in the rows' order."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from cuetune.backbones.audio import AudioBackbone
from cuetune.backbones.sounds import Sounds, batches_by_length
from cuetune.backbones.whisper import WhisperBackbone
from cuetune.prediction import Prediction, commonest
from cuetune.prompts.base import Prompt
from cuetune.prompts.hard import HardPrompt
from cuetune.readouts import MediaHead, audio_readout
from cuetune.readouts.transcript import MOST, Transcript
from cuetune.tasks.listening import listen
from cuetune.tasks.skipped import Skipped
from cuetune.tasks.task import Example, Task


class SoundPredictor:
    """One prompt, ready to answer about sounds. readout: the head that was trained with it, or what writes.

    skipped: counts recordings that cannot be read, which then get no prediction; None makes the first an error.
    """

    def __init__(
        self,
        backbone: AudioBackbone,
        task: Task,
        prompt: Prompt,
        readout: MediaHead | Transcript,
        skipped: Skipped | None = None,
    ) -> None:
        self.backbone, self.task, self.prompt, self.readout, self.skipped = backbone, task, prompt, readout, skipped
        for member in prompt.members:
            backbone.check(member.injection())

    def predict(self, examples: Iterable[Example]) -> Iterator[Prediction]:
        """One prediction for each example, in order. Raises CuetuneError for a recording that cannot be read."""
        for rows, waves in listen(examples, self.task, self.backbone.hearing, self.skipped):
            yield from self.answers([row.where for row in rows], waves)

    @torch.inference_mode()
    def answers(self, where: list[str], waves: Sequence[Tensor]) -> list[Prediction]:
        """Predictions for decoded waves (n,), each named by its place in the data; those of like length together."""
        longest = int(self.readout.at_least * self.backbone.hearing.rate)
        step = self.backbone.hearing.rate // 50  # the most states that any of the models makes of a second
        found: dict[int, Prediction] = {}
        for numbers in batches_by_length([max(len(wave), longest) // step + 1 for wave in waves]):
            sounds = Sounds([waves[number] for number in numbers], at_least=self.readout.at_least)
            answered = self._answered([where[number] for number in numbers], sounds)
            found |= dict(zip(numbers, answered, strict=True))
        return [found[number] for number in range(len(waves))]

    def _answered(self, where: Sequence[str], sounds: Sounds) -> list[Prediction]:
        members: Any = self.prompt.members
        injections = [member.for_rows(self.backbone, sounds).detached(self.backbone.dtype) for member in members]
        if isinstance(self.readout, Transcript):
            texts = self._written(sounds, injections)
            return [Prediction(place, text) for place, text in zip(where, texts, strict=True)]
        asked, head, answers = self.readout.rows(sounds), self.readout, self.task.answers
        states = self.backbone.hidden_mixed([(asked, injection) for injection in injections])
        said = torch.stack([answers.values(head.scores(self.backbone, hidden)) for hidden in states])
        values = self.prompt.combine(said).cpu().tolist()
        return [answers.prediction(place, each) for place, each in zip(where, values, strict=True)]

    def _written(self, sounds: Sounds, injections: Sequence[Any]) -> list[str]:
        assert isinstance(self.backbone, WhisperBackbone)
        assert isinstance(self.readout, Transcript)
        start = self.readout.start
        each = [self.readout.texts(self.backbone.write(sounds, one, start, MOST)) for one in injections]
        return [commonest(texts) for texts in zip(*each, strict=True)]


def untuned(backbone: AudioBackbone, task: Task) -> SoundPredictor:
    """The frozen model alone, which writes what it hears."""
    return SoundPredictor(backbone, task, HardPrompt([], torch.empty(0, backbone.width)), audio_readout(backbone, task))
