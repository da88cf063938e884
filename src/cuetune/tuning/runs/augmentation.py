"""Images that are learned from, changed at random in every step. What is validated and scored is never changed."""

import math
from hashlib import sha256
from typing import get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from cuetune.errors import CuetuneError
from cuetune.modality import IMAGE, VIDEO, Modality
from cuetune.tuning.settings import Augment

KINDS: tuple[str, ...] = get_args(Augment)
AREA = 0.5, 1.0  # of a cut, as a share of the image
SIDES = 3 / 4, 4 / 3  # width : height of a cut, before it is drawn at the image's size again
MIRRORED = 0.5  # of the images
COPIES = 4  # of each image, changed at random, that a probe learns from beside it where prompts see changed ones


class Augmentation:
    """ "crop": a part of each image, drawn at the image's size; "flip": every other one mirrored, left for right.

    seed: with the place that is given to each call it decides every draw, so a resumed run sees the same images.
    Raises CuetuneError for a kind that is not in `KINDS`.
    """

    def __init__(self, kind: str, seed: int) -> None:
        if kind not in KINDS:
            raise CuetuneError(f"--augment {kind}: not known; choose one of {', '.join(KINDS)} (no spaces).")
        self.kinds, self.seed = kind.split(","), seed

    def __call__(self, pixels: Tensor, *place: int) -> Tensor:
        """Bytes (B, 3, H, W), or videos (B, T, 3, H, W) of which all frames are changed alike, of the same shape."""
        name = sha256(repr((self.seed, *place)).encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(name[:7], "big"))
        frames = pixels.reshape(-1, *pixels.shape[-3:])
        views = self._views(len(pixels), generator).repeat_interleave(len(frames) // len(pixels), dim=0)
        grid = F.affine_grid(views, list(frames.shape), align_corners=False)
        seen = F.grid_sample(frames.cpu().float(), grid, padding_mode="border", align_corners=False)
        return seen.round().to(pixels).view_as(pixels)

    def _views(self, count: int, generator: torch.Generator) -> Tensor:
        """(B, 2, 3) from places in what is seen to places in the image, both from -1 to 1 along each side."""

        def drawn(low: float, high: float) -> Tensor:
            return low + (high - low) * torch.rand(count, generator=generator)

        size, middle = torch.ones(2, count), torch.zeros(2, count)
        if "crop" in self.kinds:
            area, sides = drawn(*AREA), drawn(math.log(SIDES[0]), math.log(SIDES[1])).exp()
            size = torch.stack([(area * sides).sqrt(), (area / sides).sqrt()]).clamp(max=1)
            middle = torch.stack([drawn(-1, 1), drawn(-1, 1)]) * (1 - size)
        if "flip" in self.kinds:
            size[0] *= torch.where(drawn(0, 1) < MIRRORED, -1.0, 1.0)
        return torch.cat([torch.diag_embed(size.T), middle.T[:, :, None]], dim=2)


def augmentation_for(modality: Modality, kind: str, seed: int) -> Augmentation | None:
    """What changes rows of a modality at random in every step (`Settings.augment`), None where nothing does.

    Raises CuetuneError for a kind that is not known, or rows that nothing is known to do to.
    """
    if kind == "none":
        return None
    if modality not in (IMAGE, VIDEO):
        raise CuetuneError(f"--augment is for images and videos, and these rows hold {modality.plural}; leave it.")
    return Augmentation(kind, seed)
