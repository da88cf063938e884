"""What goes through one pass of a backbone under one prompt: a batch of tokens, of images or video, or of audio."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self, TypeVar

import torch
from torch import Tensor

from cuetune.backbones.groups import Past


class AnyBatch(Protocol):
    """What a run asks of a batch, whatever is in it. query: see `TokenBatch`."""

    @property
    def ids(self) -> Any:
        """Something as long as the states that are computed of the rows: what a run counts."""

    @property
    def shared(self) -> Any:
        """Something as long as the states that are computed once for all rows."""

    @property
    def query(self) -> Tensor | None: ...

    def to(self, device: torch.device) -> Self: ...


Batch = TypeVar("Batch", bound=AnyBatch)


@dataclass(frozen=True)
class TokenBatch:
    """Token rows that go through one pass under the same prompt, packed one after another.

    ids: (N,) tokens of all rows. lengths: tokens of each row, B numbers that sum to N, none of them zero.
    read: (K,) places among the N whose hidden states are wanted.
    shared: (S,) tokens that stand between the prompt and every row, computed once.
    tail: (R, R) True where node i of the answer tree sees node j; the last R tokens of every row are such a tree,
        whose branches do not see each other. Empty for plain text.
    depth: (R,) how far each node lies behind the last token before the tree, from 1.
    pool: (K,) which row each of those places belongs to, when the mean over each row's is wanted in their stead.
    causal: whether a token sees only what stands before it, or (in encoders) its whole row, prompt included.
    behind: how many of each row's last tokens are its answer, or the tree of all; None where no such tokens are told
        apart. Nothing but the readout may look at them.
    query: (B, D) what the frozen model alone says of each row, where that is known already (`prompts.query`).
    past: keys and values of the tokens that stand before each row, where those were read in an earlier pass.
    """

    ids: Tensor
    lengths: Sequence[int]
    read: Tensor
    shared: Tensor
    tail: Tensor | None = None
    depth: Tensor | None = None
    pool: Tensor | None = None
    causal: bool = True
    query: Tensor | None = None
    behind: Sequence[int] | None = None
    past: Past | None = None

    @staticmethod
    def of(rows: Sequence[Sequence[int]], shared: Sequence[int] = ()) -> "TokenBatch":
        """Plain rows of which every hidden state is wanted."""
        ids = torch.tensor([token for row in rows for token in row], dtype=torch.long)
        return TokenBatch(
            ids, [len(row) for row in rows], torch.arange(len(ids)), torch.tensor(shared, dtype=torch.long)
        )

    @property
    def own_lengths(self) -> list[int]:
        """Tokens of each row without those of its answer."""
        behind = self.behind or [0] * len(self.lengths)
        return [length - answer for length, answer in zip(self.lengths, behind, strict=True)]

    def to(self, device: torch.device) -> "TokenBatch":
        tensors = {name: part for name, part in vars(self).items() if isinstance(part, Tensor)}
        moved: dict[str, Any] = {name: part.to(device, non_blocking=True) for name, part in tensors.items()}
        return replace(self, **moved)

    def wanted(self, states: Tensor, places: Tensor) -> Tensor:
        """What is asked for of a pass's states (N, d), at `places` (K,): these, (K, d), or float32 means (B, d)."""
        picked = states.index_select(0, places)
        if self.pool is None:
            return picked
        sums = picked.new_zeros((len(self.lengths), picked.shape[1]), dtype=torch.float32)
        sizes = torch.bincount(self.pool, minlength=len(self.lengths))
        return sums.index_add(0, self.pool, picked.float()) / sizes[:, None]


@dataclass(frozen=True)
class ImageBatch:
    """Images that go through one pass under the same prompt, and what is read of each.

    pixels: (B, 3, H, W), bytes of `Preprocessing.bytes_of` or numbers that are normalised already.
    n_states: states that a pass computes for each. layer: reads the states that enter this layer; None reads the final
    ones. pooling: reads the "first" state or the "mean" over the patches; None what the backbone was made for.
    query: (B, D) what the frozen model alone says of each, where that is known already (`prompts.query`).
    """

    pixels: Tensor
    n_states: int = 0
    layer: int | None = None
    pooling: str | None = None
    query: Tensor | None = None

    @property
    def ids(self) -> Sequence[int]:
        """As many as states are computed, like the tokens of `TokenBatch`: what a run counts."""
        return range(len(self.pixels) * self.n_states)

    @property
    def shared(self) -> Sequence[int]:
        """Images have no beginning in common."""
        return ()

    def to(self, device: torch.device) -> "ImageBatch":
        """The same images on another device."""
        return replace(self, pixels=self.pixels.to(device, non_blocking=True))


@dataclass(frozen=True)
class AudioBatch:
    """Audio files that go through one pass under the same prompt, and what is read of each.

    waves: one (n,) for each audio file, at the model's rate; or, where they have been heard already, states (B, T, d)
    as they enter `layer_of_states`, padded behind, with `lengths` (B,) of them real.
    at_least: seconds that are heard of each, with silence behind a shorter one.
    layer: reads the states that enter this layer; None reads the final ones. pooling: reads the "first" state or the
    "mean" over the audio's own; None what the backbone was made for.
    answers: (B, W) tokens of a transcript as the decoder reads them, start tokens first, padded behind; read: (K, 2)
    the row and place of each state of the decoder that is wanted. query: see `TokenBatch`.
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
        """As many as states are computed, like the tokens of `TokenBatch`: what a run counts."""
        heard = 0 if self.lengths is None else int(self.lengths.sum())
        return range(heard + (0 if self.answers is None else self.answers.numel()))

    @property
    def shared(self) -> Sequence[int]:
        """Audio files have no beginning in common."""
        return ()

    def __len__(self) -> int:
        return len(self.waves) if self.states is None else len(self.states)

    def to(self, device: torch.device) -> "AudioBatch":
        """The same audio files on another device."""
        tensors = {
            name: value.to(device, non_blocking=True)
            for name in ("states", "lengths", "answers", "read")
            if (value := getattr(self, name)) is not None
        }
        return replace(self, waves=[wave.to(device) for wave in self.waves], **tensors)


STATES_AT_ONCE = 8192  # of a batch, padding included, where no gradient is needed


def batches_by_length(lengths: Sequence[int]) -> list[list[int]]:
    """Numbers of audio files in batches of similar length, each within `STATES_AT_ONCE` or a single audio file."""
    batches: list[list[int]] = []
    for number in sorted(range(len(lengths)), key=lambda number: lengths[number]):
        if batches and (len(batches[-1]) + 1) * lengths[number] <= STATES_AT_ONCE:
            batches[-1].append(number)
        else:
            batches.append([number])
    return batches
