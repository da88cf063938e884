"""Answers for any number of recordings in constant memory, in the rows' order."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from cuetune.backbones.audio import AudioBackbone
from cuetune.backbones.sounds import Sounds, batches_by_length
from cuetune.backbones.whisper import WhisperBackbone
from cuetune.errors import CuetuneError
from cuetune.prediction import Prediction, commonest
from cuetune.prompts.base import Prompt
from cuetune.prompts.hard import HardPrompt
from cuetune.readouts.sound_head import SoundHead
from cuetune.readouts.transcript import MOST, Transcript
from cuetune.tasks.listening import listen
from cuetune.tasks.skipped import Skipped
from cuetune.tasks.task import Example, Task


def sound_readout(
    backbone: AudioBackbone, task: Task, pooling: str | None = None, layer: int | None = None, seed: int = 0
) -> SoundHead | Transcript:
    """What a task asks of its recordings: a new head for labels, transcripts where there are none.

    Raises CuetuneError where transcripts are asked of a model that cannot write.
    """
    if not task.generates:
        return SoundHead(backbone, task, pooling, layer, seed)
    if not isinstance(backbone, WhisperBackbone):
        raise CuetuneError(f"{backbone.identity.name} hears and writes nothing; give labels, or a Whisper as --model.")
    if layer is not None:
        raise CuetuneError("--head-layer: a transcript is written from the final states; leave it out.")
    return Transcript(backbone, task)


class SoundPredictor:
    """One prompt, ready to answer about sounds. readout: the head that was trained with it, or what writes.

    skipped: counts recordings that cannot be read, which then get no prediction; None makes the first an error.
    """

    def __init__(
        self,
        backbone: AudioBackbone,
        task: Task,
        prompt: Prompt,
        readout: SoundHead | Transcript,
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
    return SoundPredictor(backbone, task, HardPrompt([], torch.empty(0, backbone.width)), sound_readout(backbone, task))
