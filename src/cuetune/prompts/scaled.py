"""Trained tensors stated relative to the size their numbers begin with, so that one learning rate fits every layer."""

import torch
from torch import Tensor, nn


class Scaled(nn.Module):
    """A tensor (M, …) stored as `values` times a fixed `scale` for each of its M parts.

    The scale of a part is the median over its positions (second axis from the end) of their root mean square: layers
    differ by a factor of a hundred, and the first position of a text by another hundred from the rest. It is rounded to
    a power of two, so that taking it out and putting it back changes no bit.
    """

    def __init__(self, start: Tensor) -> None:
        super().__init__()
        start = start.detach().to(torch.float32)
        sizes = start.square().mean(-1).sqrt().flatten(1).median(dim=1).values
        self.scale: Tensor
        self.register_buffer(
            "scale", torch.exp2(sizes.clamp_min(2.0**-20).log2().round()).view(-1, *[1] * (start.dim() - 1))
        )
        self.values = nn.Parameter(start / self.scale)

    def forward(self) -> Tensor:
        """The tensor itself, (M, …)."""
        return self.values * self.scale

    @classmethod
    def rebuilt(cls, tensors: dict[str, Tensor], name: str) -> Tensor:
        """The tensor that a state dict holds under this name."""
        return tensors[f"{name}.values"] * tensors[f"{name}.scale"]
