"""Sounds that a run hears once: what enters the first layer, or a later one, kept in memory or in a file."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from cuetune.backbones.audio import AudioBackbone
from cuetune.backbones.sounds import Sounds, batches_by_length
from cuetune.errors import CuetuneError
from cuetune.support.files import disk_error
from cuetune.tasks.listening import listen
from cuetune.tasks.task import Example, Task
from cuetune.tuning.states import IN_MEMORY


class SoundTable:
    """Tensors of different lengths by number. What is more than `IN_MEMORY` bytes lies in a file that vanishes.

    folder: of that file.
    """

    def __init__(self, count: int, folder: Path | None = None) -> None:
        self._kept: list[Tensor | int] = [0] * count  # a tensor, or where in the file it begins
        self._shapes: list[torch.Size] = [torch.Size()] * count
        self._folder = folder
        self._dtype = torch.float32
        self._stream: IO[bytes] | None = None
        self.bytes = 0

    def put(self, number: int, values: Tensor) -> None:
        """Keep one tensor. Raises CuetuneError where the disk refuses."""
        values = values.detach().cpu().contiguous()
        self._shapes[number], self._dtype = values.shape, values.dtype
        self.bytes += values.numel() * values.element_size()
        if self.bytes <= IN_MEMORY:
            self._kept[number] = values.clone()
            return
        place = self._folder or Path(tempfile.gettempdir())
        try:
            if self._stream is None:
                place.mkdir(parents=True, exist_ok=True)
                self._stream = tempfile.TemporaryFile(dir=place)  # noqa: SIM115 - closed with its last user
            self._kept[number] = self._stream.seek(0, 2)
            self._stream.write(values.view(torch.uint8).numpy().tobytes())
        except OSError as error:
            raise CuetuneError(f"{disk_error(place, error)} It keeps what a run hears.") from error

    def of(self, number: int) -> Tensor:
        """One tensor."""
        kept = self._kept[number]
        if isinstance(kept, Tensor):
            return kept
        assert self._stream is not None
        shape = self._shapes[number]
        size = shape.numel() * torch.empty((), dtype=self._dtype).element_size()
        self._stream.seek(kept)
        raw = np.frombuffer(bytearray(self._stream.read(size)), dtype=np.uint8)
        return torch.from_numpy(raw).view(self._dtype).view(shape)


class HeardSounds:
    """The recordings of a run, decoded once: their states (F + T, d) as they enter `layer`, or their waves.

    Below `layer` nothing of a prompt is; 0 is what enters the first layer. at_least: as of `Sounds`.
    raw: keep the waves themselves, for a prompt that changes them. folder: of a table too large for memory.
    """

    def __init__(
        self,
        backbone: AudioBackbone,
        examples: Sequence[Example],
        task: Task,
        *,
        at_least: float = 0.0,
        raw: bool = False,
        folder: Path | None = None,
    ) -> None:
        self.backbone, self.at_least, self.raw, self.folder, self.layer = backbone, at_least, raw, folder, 0
        self.table, self.lengths = SoundTable(len(examples), folder), [0] * len(examples)
        number = 0
        for _, waves in listen(examples, task, backbone.hearing):
            with torch.no_grad():
                kept = waves if raw else backbone.heard(waves, at_least)
            for each in kept:
                self.table.put(number, each)
                self.lengths[number] = len(each)
                number += 1

    def __len__(self) -> int:
        return len(self.lengths)

    def sounds(self, numbers: Sequence[int]) -> Sounds:
        """These sounds, in this order."""
        if self.raw:
            return Sounds([self.table.of(number) for number in numbers], at_least=self.at_least)
        return Sounds(states=self.of(numbers), lengths=self._lengths(numbers), at_least=self.at_least)

    def bare(self, numbers: Sequence[int]) -> Sounds:
        """How long these sounds are, for a pass that gets their states apart (`of`)."""
        return Sounds(lengths=self._lengths(numbers), at_least=self.at_least)

    def of(self, numbers: Sequence[int]) -> Tensor:
        """(B, F + T, d) the states of these sounds, in this order, padded behind."""
        return pad_sequence([self.table.of(number) for number in numbers], batch_first=True)

    def frozen(self, layer: int) -> "HeardSounds":
        """The same sounds as they enter a higher layer, computed once for each."""
        higher = object.__new__(HeardSounds)
        higher.__dict__ |= {**self.__dict__, "layer": layer, "table": SoundTable(len(self), self.folder)}
        for numbers in batches_by_length(self.lengths):
            states = self.backbone.states_at(layer, self.sounds(numbers))
            for number, each in zip(numbers, states, strict=True):
                higher.table.put(number, each[: self.lengths[number]])
        return higher

    def _lengths(self, numbers: Sequence[int]) -> Tensor:
        return torch.tensor([self.lengths[number] for number in numbers])
