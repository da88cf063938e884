"""Which keys a query may see, as the model itself says it: its mask as a rule on positions."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from cuetune.errors import CuetuneError


@dataclass(frozen=True, eq=False)
class MaskRule:
    """The mask of one kind of layer, before any row is laid out: causal, windowed, chunked, ….

    sees: (query positions, key positions) -> bool, broadcast over both; None where a token sees all that packing lets
    it see. causal: whether a query sees nothing behind itself.
    """

    sees: Callable[[Tensor, Tensor], Tensor] | None
    causal: bool

    @classmethod
    def of(cls, sees: Callable[[Tensor, Tensor], Tensor], *, whole: bool) -> "MaskRule":
        """The rule of a function on positions. whole: it is known to be plainly causal or plainly bidirectional."""
        now, later = torch.tensor([0]), torch.tensor([1])
        return cls(None if whole else sees, not bool(sees(now, later)))

    def check(self, causal: bool) -> None:
        """Raise CuetuneError unless a model reads in the direction in which rows are packed."""
        if self.causal != causal:
            direction = "from left to right only" if self.causal else "in both directions"
            raise CuetuneError(f"its attention reads {direction}")
