"""A trained head on what a backbone makes of a picture."""

from collections.abc import Sequence

from torch import Tensor

from cuetune.backbones.pictures import Pictures
from cuetune.backbones.seeing import SeeingBackbone
from cuetune.data.task import Task
from cuetune.readouts.media_head import MediaHead


class ImageHead(MediaHead):
    """A head on pictures (VPT, Jia et al. 2022, section 3.2); the mean is over the patches."""

    noun = "picture"

    def __init__(
        self, backbone: SeeingBackbone, task: Task, pooling: str | None = None, layer: int | None = None, seed: int = 0
    ) -> None:
        super().__init__(backbone, task, pooling, layer, seed)
        self.n_states = backbone.n_states

    def rows(self, pixels: Tensor, shared: Sequence[int] = ()) -> Pictures:  # type: ignore[override]
        """Pixels (B, 3, H, W) as they go through the backbone, and what is read of each. shared: never anything."""
        return Pictures(pixels, self.n_states, self.layer, self.pooling)
