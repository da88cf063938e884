"""Pictures as they go through a backbone together: what `packing.Rows` is to texts."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Pictures:
    """Pictures that go through one pass under the same prompt, and what is read of each.

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
        """As many as states are computed, like the tokens of `Rows`: what a run counts."""
        return range(len(self.pixels) * self.n_states)

    @property
    def shared(self) -> Sequence[int]:
        """Pictures have no beginning in common."""
        return ()

    def to(self, device: torch.device) -> "Pictures":
        """The same pictures on another device."""
        return replace(self, pixels=self.pixels.to(device, non_blocking=True))
