"""Sounds as they go through a backbone together: what `packing.Rows` is to texts."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Sounds:
    """Sounds that go through one pass under the same prompt, and what is read of each.

    waves: one (n,) for each sound, at the model's rate; or, where they have been heard already, states (B, T, d) as
    they enter `layer_of_states`, padded behind, with `lengths` (B,) of them real.
    at_least: seconds that are heard of each, with silence behind a shorter one.
    layer: reads the states that enter this layer; None reads the final ones. pooling: reads the "first" state or the
    "mean" over the sound's own; None what the backbone was made for.
    answers: (B, W) tokens of a transcript as the decoder reads them, start tokens first, padded behind; read: (K, 2)
    the row and place of each state of the decoder that is wanted. query: see `packing.Rows`.
    """

    waves: Sequence[Tensor] = ()
    states: Tensor | None = None
    lengths: Tensor | None = None
    at_least: float = 0.0
    layer: int | None = None
    pooling: str | None = None
    answers: Tensor | None = None
    read: Tensor | None = None
    query: Tensor | None = None

    @property
    def ids(self) -> Sequence[int]:
        """As many as states are computed, like the tokens of `Rows`: what a run counts."""
        heard = 0 if self.lengths is None else int(self.lengths.sum())
        return range(heard + (0 if self.answers is None else self.answers.numel()))

    @property
    def shared(self) -> Sequence[int]:
        """Sounds have no beginning in common."""
        return ()

    def __len__(self) -> int:
        return len(self.waves) if self.states is None else len(self.states)

    def to(self, device: torch.device) -> "Sounds":
        """The same sounds on another device."""
        tensors = {
            name: value.to(device, non_blocking=True)
            for name in ("states", "lengths", "answers", "read")
            if (value := getattr(self, name)) is not None
        }
        return replace(self, waves=[wave.to(device) for wave in self.waves], **tensors)


STATES_AT_ONCE = 8192  # of a batch, padding included, where no gradient is needed


def batches_by_length(lengths: Sequence[int]) -> list[list[int]]:
    """Numbers of sounds in batches of similar length, each within `STATES_AT_ONCE` or a single sound."""
    batches: list[list[int]] = []
    for number in sorted(range(len(lengths)), key=lambda number: lengths[number]):
        if batches and (len(batches[-1]) + 1) * lengths[number] <= STATES_AT_ONCE:
            batches[-1].append(number)
        else:
            batches.append([number])
    return batches
