"""From a video to the pixels of some of its frames, as a model was trained on them."""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from cuetune.backbones.preprocessing import Preprocessing


@dataclass(frozen=True)
class ClipPreprocessing(Preprocessing):
    """What is done to every frame, and how many are taken: T, evenly from the first to the last."""

    frames: int = 8

    @classmethod
    def over(cls, still: Preprocessing, frames: int) -> "ClipPreprocessing":
        """`frames` frames, each prepared as images are."""
        return cls(**{each.name: getattr(still, each.name) for each in fields(still)}, frames=frames)

    @property
    def shape(self) -> tuple[int, ...]:
        """(T, 3, H, W)"""
        return (self.frames, 3, *self.size)

    def bytes_of_frames(self, pictures: Iterable[Any]) -> Tensor:
        """(T, 3, H, W) uint8 of Pillow images in RGB; each is forgotten before the next one comes."""
        return torch.stack([self.bytes_of(picture) for picture in pictures])


def evenly(length: int, frames: int) -> list[int]:
    """Which of `length` frames are taken: the first, the last, and those between at even distances.

    The ends are farthest apart, so that what moved has moved the most. Of fewer than `frames` some are taken again.
    """
    if frames == 1:
        return [(length - 1) // 2]
    return [round(number * (length - 1) / (frames - 1)) for number in range(frames)]
