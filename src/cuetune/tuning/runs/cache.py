"""What a run computes once for each row, and reads back by number."""

from collections.abc import Callable, Hashable, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from cuetune.backbones.audio import AudioBackbone
from cuetune.backbones.batches import AudioBatch, batches_by_length
from cuetune.data.media.audio_batches import listen
from cuetune.data.row import Example
from cuetune.data.task import Task
from cuetune.support.spill_table import SpillTable


class StateCache:
    """The states of rows as they enter `layer`, in the backbone's dtype.

    join: the states of several rows, each (T, d), as `Backbone.hidden_from` takes them.
    before: keys of states that stand before those of any rows: what all rows begin with.
    """

    def __init__(
        self,
        layer: int,
        join: Callable[[list[Tensor]], Tensor],
        before: Sequence[Hashable] = (),
        folder: Path | None = None,
    ) -> None:
        self.layer, self.join, self.before = layer, join, before
        self.table = SpillTable(folder, "It keeps the states below a late prompt.")

    def of(self, numbers: Sequence[int]) -> Tensor:
        """The states of these rows, in this order."""
        return self.join([self.table.of(key) for key in (*self.before, *numbers)])


class AudioCache:
    """Audio of a run: for each audio file its states (F + T, d) as they enter `layer`, or its wave (n,).

    Below `layer` nothing of a prompt is; 0 is what enters the first layer. at_least: as of `AudioBatch`.
    raw: the waves themselves are kept, for a prompt that changes them. folder: of what is too large for memory.
    """

    def __init__(
        self,
        backbone: AudioBackbone,
        *,
        layer: int = 0,
        at_least: float = 0.0,
        raw: bool = False,
        folder: Path | None = None,
    ) -> None:
        self.backbone, self.layer, self.at_least, self.raw, self.folder = backbone, layer, at_least, raw, folder
        self.table = SpillTable(folder, "It keeps the audio of this run.")
        self.lengths: list[int] = []

    @torch.no_grad()
    def read(self, examples: Sequence[Example], task: Task) -> "AudioCache":
        """Decode these audio files, and keep them."""
        for _, waves in listen(examples, task, self.backbone.hearing):
            for values in waves if self.raw else self.backbone.heard(waves, self.at_least):
                self.table.put(len(self.lengths), values)
                self.lengths.append(len(values))
        return self

    def __len__(self) -> int:
        return len(self.lengths)

    def batch(self, numbers: Sequence[int]) -> AudioBatch:
        """These audio files, in this order."""
        if self.raw:
            return AudioBatch([self.table.of(number) for number in numbers], at_least=self.at_least)
        return AudioBatch(states=self.of(numbers), lengths=self._lengths(numbers), at_least=self.at_least)

    def bare(self, numbers: Sequence[int]) -> AudioBatch:
        """How long these audio files are, for a pass that gets their states apart (`of`)."""
        return AudioBatch(lengths=self._lengths(numbers), at_least=self.at_least)

    def of(self, numbers: Sequence[int]) -> Tensor:
        """(B, F + T, d) the states of these audio files, in this order, padded behind."""
        return pad_sequence([self.table.of(number) for number in numbers], batch_first=True)

    def at_layer(self, layer: int) -> "AudioCache":
        """The same audio files as they enter a higher layer, computed once for each."""
        higher = AudioCache(self.backbone, layer=layer, at_least=self.at_least, folder=self.folder)
        higher.lengths = self.lengths
        for numbers in batches_by_length(self.lengths):
            states = self.backbone.states_at(layer, self.batch(numbers)).cpu()
            for number, values in zip(numbers, states, strict=True):
                higher.table.put(number, values[: self.lengths[number]])
        return higher

    def _lengths(self, numbers: Sequence[int]) -> Tensor:
        return torch.tensor([self.lengths[number] for number in numbers])
