"""One task on sounds in a run: its recordings heard once, how answers are read, and how the prompt does on it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cuetune.backbones.audio import AudioBackbone
from cuetune.backbones.sounds import Sounds, batches_by_length
from cuetune.backbones.whisper import WhisperBackbone, injection_tokens
from cuetune.errors import CuetuneError
from cuetune.prompts.base import Prompt
from cuetune.readouts import MediaHead, Transcript, audio_readout
from cuetune.tuning.heard import HeardSounds
from cuetune.tuning.settings import Settings
from cuetune.tuning.task_run import TaskData


@dataclass(frozen=True)
class Heard:
    """One recording of a run, as `Rendered` is one text. number: its place among those that were heard."""

    where: str
    number: int
    label: str | None
    cut: int = 0


class AudioRun:
    """A task's part in a run on this backbone, with the same parts as `TaskRun` has for texts.

    prompt: that of this task. settings: resolved; `validation_rows` are those of this task. folder: of what is too
    large for memory. Labels are told apart by a head that is trained with the prompt; free text is written by Whisper.
    """

    def __init__(
        self,
        backbone: AudioBackbone,
        prompt: Prompt,
        data: TaskData,
        settings: Settings,
        validation_rows: int,
        folder: Path | None = None,
    ) -> None:
        if not data.train:
            raise CuetuneError(f"{data.task.name}: no recordings to tune on.")
        self.backbone, self.task, self.settings, self.folder = backbone, data.task, settings, folder
        self.readout: Any = audio_readout(
            backbone, data.task, pooling=settings.pooling, layer=settings.head_layer, seed=settings.seed
        )
        self.training_readout = self.readout
        injection = prompt.injection()
        backbone.check(injection)
        self._raw = injection.inputs is not None
        self.heard = self._hear(data.train)
        self.rows = [Heard(each.where, number, each.label) for number, each in enumerate(data.train)]
        self.validation = list(data.validation)[:validation_rows]
        if isinstance(self.readout, Transcript) and isinstance(backbone, WhisperBackbone):
            told = injection_tokens(injection, backbone.layers)
            self.readout.check_room([*self.rows, *self.validation], backbone.positions, told)
        self._asked: HeardSounds | None = None
        self.states: HeardSounds | None = None

    def _hear(self, examples: Sequence[Any]) -> HeardSounds:
        at_least = self.readout.at_least
        return HeardSounds(self.backbone, examples, self.task, at_least=at_least, raw=self._raw, folder=self.folder)

    @property
    def head(self) -> MediaHead | None:
        """The classifier that is trained with the prompt, or None where text is written."""
        return self.readout if isinstance(self.readout, MediaHead) else None

    @torch.no_grad()
    def states_of(self, prompt: Prompt, numbers: Sequence[int]) -> Tensor:
        """(B, d) what the readout reads of these sounds under the prompt."""
        sounds: Any = self.readout.rows(self.heard.sounds(numbers), self.rendered(numbers))
        return self.backbone.hidden(sounds, prompt.for_rows(self.backbone, sounds))

    def rendered(self, numbers: Sequence[int]) -> list[Heard]:
        """These recordings, not yet as states."""
        return [self.rows[number] for number in numbers]

    def pack(self, rows: Sequence[Heard]) -> Sounds:
        """Sounds as they go through the backbone."""
        numbers = [row.number for row in rows]
        sounds = self.heard.sounds(numbers) if self.states is None else self.states.bare(numbers)
        return self.readout.rows(sounds, rows)

    def freeze(self, layer: int, folder: Path | None = None) -> None:
        """Compute the states below `layer`, which the prompt cannot change, once for every sound."""
        self.states = self.heard.frozen(layer)

    def frozen_flops(self) -> float:
        """Operations that `freeze` took, counted on a few sounds."""
        from torch.utils.flop_counter import FlopCounterMode

        if self.states is None:
            return 0.0
        numbers = range(min(4, len(self.rows)))
        with FlopCounterMode(display=False) as below:
            self.backbone.states_at(self.states.layer, self.heard.sounds(numbers))
        return below.get_total_flops() * sum(self.heard.lengths) / sum(self.heard.lengths[n] for n in numbers)

    @torch.no_grad()
    def scores(self, prompt: Prompt) -> dict[str, float]:
        """Loss and, unless text is written, a score on the validation recordings, which are heard once."""
        if self._asked is None:
            heard = self._hear(self.validation)
            self._asked = heard.frozen(self.states.layer) if self.states is not None else heard
        losses = 0.0
        found: dict[int, list[float]] = {}
        for numbers in batches_by_length(self._asked.lengths):
            rows = [Heard(self.validation[n].where, n, self.validation[n].label) for n in numbers]
            hidden = self._hidden(self.readout.rows(self._asked.sounds(numbers), rows), self._asked.layer, prompt)
            losses += float(self.readout.row_losses(self.backbone, hidden, rows).sum())
            if self.head is not None:
                values = self.task.answers.values(self.head.scores(self.backbone, hidden)).tolist()
                found |= dict(zip(numbers, values, strict=True))
        scored = {"loss": losses / len(self.validation)}
        if self.head is None:
            return scored
        predictions = [self.task.answers.prediction("", found[number]) for number in range(len(self.validation))]
        return {**self.task.answers.validation(predictions, [each.label for each in self.validation]), **scored}

    def _hidden(self, sounds: Any, layer: int, prompt: Prompt) -> Tensor:
        injection = prompt.for_rows(self.backbone, sounds)
        if layer:
            return self.backbone.hidden_from(layer, sounds.states, sounds, injection)
        return self.backbone.hidden(sounds, injection)
