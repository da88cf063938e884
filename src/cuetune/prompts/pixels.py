"""Prompts in pixels: a trained frame or patch added to every image (Bahng et al. 2022, arXiv 2203.17274).

x' = x + v, where x is the image as the model takes it, normalised; v is trained on a part of it, and zero elsewhere.
With `shrink` the image is put into the frame's inside and nothing of it is covered, as in ILM-VP (Chen et al., CVPR
2023) and FairReprogram (Zhang et al., NeurIPS 2022).
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cuetune.backbones.injection import Injection
from cuetune.backbones.inputs import InputChange
from cuetune.errors import CuetuneError
from cuetune.prompts.base import Prompt, affordable

SIDES = ("top", "bottom", "left", "right")


class FramePrompt(Prompt):
    """A frame of w pixels, 2 · C · w · (H + W - 2 w) numbers: 69,840 for w = 30 around 224 x 224.

    sides: top and bottom (C, w, W), left and right (C, H - 2 w, w). shrink: bring the image to the frame's inside
    first; else the frame is added to the image's own edge.
    """

    kind = "frame"

    def __init__(self, sides: dict[str, Tensor], shrink: bool = False) -> None:
        super().__init__()
        self.shrink = shrink
        numbers = {side: nn.Parameter(sides[side].detach().clone().to(torch.float32)) for side in SIDES}
        self.sides = nn.ParameterDict(numbers)

    @classmethod
    def begin(cls, shape: tuple[int, int, int], width: int = 30, shrink: bool = False, seed: int = 0) -> "FramePrompt":
        """Normal random numbers, as in the paper. shape: (C, H, W). Raises CuetuneError where no inside is left."""
        channels, height, across = shape
        if not 0 < 2 * width < min(height, across):
            raise CuetuneError(f"a frame of {width} pixels leaves nothing of {height} x {across}; give a smaller one.")
        generator = torch.Generator().manual_seed(seed)
        sizes = {"top": (width, across), "bottom": (width, across)}
        sizes |= dict.fromkeys(("left", "right"), (height - 2 * width, width))
        return cls({side: torch.randn(channels, *sizes[side], generator=generator) for side in SIDES}, shrink)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(w, H, W): how wide the frame is, and the image with it."""
        channels, width, across = self.sides["top"].shape
        return width, self.sides["left"].shape[1] + 2 * width, across

    def injection(self) -> Injection:
        width, height, across = self.shape
        middle = self.sides["left"].new_zeros(len(self.sides["left"]), height - 2 * width, across - 2 * width)
        rows = torch.cat([self.sides["left"], middle, self.sides["right"]], dim=2)
        added = torch.cat([self.sides["top"], rows, self.sides["bottom"]], dim=1)
        window = (width, width, height - 2 * width, across - 2 * width) if self.shrink else None
        return Injection(inputs=InputChange(added, window))

    def size(self, embedding_size: float) -> float:
        return 1.0

    def described(self) -> str:
        width, height, across = self.shape
        around = "around the image" if self.shrink else "on the image's edge"
        return f"a frame of {width} pixels {around}, {height} x {across} in all"

    def spec(self) -> dict[str, Any]:
        return {"shrink": self.shrink}

    @classmethod
    def from_spec(cls, spec: dict[str, Any], tensors: dict[str, Tensor]) -> "FramePrompt":
        channels, height, _ = tensors["sides.left"].shape
        affordable(channels, height, tensors["sides.top"].shape[2])
        return cls({side: tensors[f"sides.{side}"] for side in SIDES}, bool(spec["shrink"]))


class PatchPrompt(Prompt):
    """A square of s x s pixels added at one place of every image.

    values: (C, s, s). top, left: its place. shape: (H, W) of the image.
    """

    kind = "patch"

    def __init__(self, values: Tensor, top: int, left: int, shape: tuple[int, int]) -> None:
        super().__init__()
        size = values.shape[-1]
        if not (0 <= top <= shape[0] - size and 0 <= left <= shape[1] - size):
            raise CuetuneError(f"a patch of {size} pixels at ({top}, {left}) is not within {shape[0]} x {shape[1]}.")
        self.top, self.left, self.shape = top, left, shape
        self.values = nn.Parameter(values.detach().clone().to(torch.float32))

    @classmethod
    def begin(cls, shape: tuple[int, int, int], size: int = 50, place: str = "corner", seed: int = 0) -> "PatchPrompt":
        """Normal random numbers in the top left "corner", or at a "random" place that the seed decides once.

        The paper draws a random place anew for every batch; here it stays, so that an answer can be had again.
        """
        generator = torch.Generator().manual_seed(seed)
        channels, height, width = shape
        values = torch.randn(channels, size, size, generator=generator)
        if place not in ("corner", "random"):
            raise CuetuneError(f"unknown place {place!r} of a patch; choose corner or random.")
        top, left = (
            int(torch.randint(max(1, side - size + 1), (), generator=generator)) if place == "random" else 0
            for side in (height, width)
        )
        return cls(values, top, left, (height, width))

    def injection(self) -> Injection:
        size = self.values.shape[-1]
        below, beside = self.shape[0] - self.top - size, self.shape[1] - self.left - size
        return Injection(inputs=InputChange(F.pad(self.values, (self.left, beside, self.top, below))))

    def size(self, embedding_size: float) -> float:
        return 1.0

    def described(self) -> str:
        size = self.values.shape[-1]
        return f"a patch of {size} x {size} pixels at ({self.top}, {self.left}) of {self.shape[0]} x {self.shape[1]}"

    def spec(self) -> dict[str, Any]:
        return {"top": self.top, "left": self.left, "shape": list(self.shape)}

    @classmethod
    def from_spec(cls, spec: dict[str, Any], tensors: dict[str, Tensor]) -> "PatchPrompt":
        height, width = spec["shape"]
        affordable(len(tensors["values"]), int(height), int(width))
        return cls(tensors["values"], int(spec["top"]), int(spec["left"]), (int(height), int(width)))
