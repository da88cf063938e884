"""A change of the raw input: what a prompt in pixels adds to an image before the frozen model sees it."""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class InputChange:
    """Numbers added to the input as the model takes it, which for pixels is after normalisation.

    added: (C, H, W) shared by the batch or (B, C, H, W).
    window: (top, left, height, width) that each image is shrunk into first, with the mean colour (zero) around it;
        None leaves it as it is.
    """

    added: Tensor
    window: tuple[int, int, int, int] | None = None

    @property
    def per_row(self) -> bool:
        """True when every row of the batch has its own."""
        return self.added.dim() == 4

    def of(self, pixels: Tensor) -> Tensor:
        """The changed pixels, (B, C, H, W) -> (B, C, H, W); every frame of videos (B, T, C, H, W) alike."""
        if self.window is not None:
            top, left, height, width = self.window
            flat = pixels.flatten(0, -4).float()
            small = F.interpolate(flat, size=(height, width), mode="bilinear", antialias=True)
            small = small.unflatten(0, pixels.shape[:-3])
            beside = (left, pixels.shape[-1] - left - width, top, pixels.shape[-2] - top - height)
            pixels = F.pad(small.to(pixels.dtype), beside)
        return pixels + self.added.to(pixels)

    def detached(self, dtype: torch.dtype) -> "InputChange":
        """The same numbers in another dtype, without a way back to what made them."""
        return replace(self, added=self.added.detach().to(dtype))

    def of_rows(self, numbers: Tensor) -> "InputChange":
        """What belongs to these rows of the batch; what is shared stays shared."""
        return replace(self, added=self.added[numbers]) if self.per_row else self
