"""What is said in an audio file, written: trained token by token, as Whisper was."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from cuetune.backbones.batches import AudioBatch
from cuetune.backbones.whisper import END, WhisperBackbone
from cuetune.data.task import Task
from cuetune.errors import CuetuneError
from cuetune.readouts.base import in_chunks

MOST = 224  # tokens of a transcript: half of what Whisper's decoder takes, as in its own


class Transcript:
    """The words of an audio file, behind Whisper's start tokens. The task's instruction is the language's code.

    at_least: seconds that are heard of each audio file, with silence behind a shorter one: the 30 that Whisper was
    trained with, unless the model's name says less. With less, Whisper without a prompt says short sentences over and
    over; a tuned one need not, and costs less by as much.
    """

    def __init__(self, backbone: WhisperBackbone, task: Task) -> None:
        self.tokenizer, self.task = backbone.tokenizer, task
        self.start = backbone.start(task.instruction)
        self.at_least = getattr(backbone.hearing, "written", 0.0)
        self._end = int(self.tokenizer.convert_tokens_to_ids(END))

    def answers(self, rows: Sequence[Any]) -> list[list[int]]:
        """Target tokens of each row's label, a space in front as Whisper writes it, the end token behind."""
        texts = [" " + " ".join(str(row.label).split()) for row in rows]
        ids = self.tokenizer(texts, add_special_tokens=False)["input_ids"]
        return [tokens[: MOST - 1] + [self._end] for tokens in ids]

    def check_room(self, rows: Sequence[Any], positions: int, tokens: int) -> None:
        """Raise CuetuneError for a row whose text does not fit behind so many virtual tokens and the start tokens."""
        room = positions - tokens - len(self.start)
        for row, answer in zip(rows, self.answers(rows), strict=True):
            if len(answer) > room:
                raise CuetuneError(
                    f"{row.where}: {len(answer)} tokens to write, and {tokens} virtual tokens leave room for "
                    f"{max(0, room)}; lower --length or shorten the text."
                )

    def rows(self, sounds: AudioBatch, rows: Sequence[Any]) -> AudioBatch:
        """Audio files with what the decoder reads, and the places that predict a target token."""
        answers = self.answers(rows)
        ids = [torch.tensor(self.start + answer[:-1]) for answer in answers]
        first = len(self.start) - 1
        read = [(row, first + place) for row, answer in enumerate(answers) for place in range(len(answer))]
        padded = pad_sequence(ids, batch_first=True, padding_value=self._end)
        return replace(sounds, answers=padded, read=torch.tensor(read))

    def row_losses(self, backbone: WhisperBackbone, hidden: Tensor, rows: Sequence[Any]) -> Tensor:
        """Mean cross-entropy per target token for each row, (B,)."""
        answers = self.answers(rows)
        targets = torch.tensor([token for answer in answers for token in answer], device=hidden.device)
        losses = in_chunks(
            lambda part, wanted: F.cross_entropy(backbone.logits(part), wanted, reduction="none"), hidden, targets
        )
        return torch.stack([part.mean() for part in losses.split([len(answer) for answer in answers])])

    def texts(self, written: Sequence[Sequence[int]]) -> list[str]:
        """What tokens say, without start tokens and outer spaces."""
        return [self.tokenizer.decode(ids, skip_special_tokens=True).strip() for ids in written]
