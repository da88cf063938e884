"""How every prompt for images and video begins on a backbone, by the name that `tune` and `compare` know."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from cuetune.backbones.image import ImageBackbone
from cuetune.backbones.seeing import SeeingBackbone
from cuetune.backbones.video import FramesBackbone
from cuetune.data.media.image_batches import decode
from cuetune.data.row import Example
from cuetune.data.task import Task
from cuetune.errors import CuetuneError
from cuetune.prompts.base import Prompt
from cuetune.prompts.late import LatePrompt
from cuetune.prompts.pixels import FramePrompt, PatchPrompt
from cuetune.prompts.start import Method, Start, prefix
from cuetune.prompts.temporal import TemporalPrompt
from cuetune.prompts.visual import VisualPrompt

SEEN = 8  # images that a prefix may begin from


@dataclass(frozen=True)
class ImageStart(Start):
    """length: virtual tokens. pixels: (B, 3, H, W) of some images to tune on.

    reads: the layer whose states the head reads, None for the final ones; a prompt has nothing from there on.
    """

    modality, rows = "image", "images"

    backbone: SeeingBackbone
    length: int
    seed: int
    pixels: Tensor
    reads: int | None = None

    @classmethod
    def of(
        cls,
        backbone: SeeingBackbone,
        task: Task,
        examples: Sequence[Example],
        length: int,
        seed: int = 0,
        reads: int | None = None,
    ) -> Self:
        """Where these examples are tuned on. Raises CuetuneError for content that cannot be read."""
        pixels = torch.cat([part for _, part, _ in decode(examples[:SEEN], task, backbone.preprocessing)])
        pixels = pixels.flatten(0, 1) if isinstance(backbone, FramesBackbone) else pixels
        return cls(backbone, length, seed, backbone.normalised(pixels), reads)

    @property
    def transformer(self) -> ImageBackbone:
        """The backbone of a prompt that adds states. Raises CuetuneError for one that has no place for them."""
        if isinstance(self.backbone, ImageBackbone):
            return self.backbone
        raise CuetuneError(
            f"{self.backbone.identity.name} is a convolutional network, which takes prompts in pixels alone; choose "
            f"--prompt {' or '.join(PIXEL_METHODS)}."
        )

    @property
    def depth(self) -> int:
        return self.backbone.layers if self.reads is None else self.reads

    def check_layer(self, layer: int) -> None:
        """Raise CuetuneError unless this layer is run, and has a place for states of a prompt."""
        assert self.transformer
        super().check_layer(layer)

    def keys_values(self) -> tuple[Tensor, Tensor]:
        """Those of P patches of these images, drawn by the seed."""
        keys, values = self.transformer.keys_values(self.pixels)
        rows, places = self._drawn(keys.shape[3])
        return tuple(part[:, rows, :, places].permute(1, 2, 0, 3).float().cpu() for part in (keys, values))  # type: ignore[return-value]

    def states(self) -> Tensor:
        """(L, P, d) what goes into each layer at the places of the same patches."""
        inputs = self.transformer.layer_inputs(self.pixels)
        rows, places = self._drawn(inputs[0].shape[1])
        return torch.stack([each[rows, places] for each in inputs]).float().cpu()

    def _drawn(self, n_places: int) -> tuple[Tensor, Tensor]:
        """(P,) images and (P,) places of their patches, drawn by the seed."""
        generator = torch.Generator().manual_seed(self.seed)
        rows = torch.randint(len(self.pixels), (self.length,), generator=generator)
        return rows, torch.randint(self.transformer.n_first, n_places, (self.length,), generator=generator)


class VideoStart(ImageStart):
    """pixels: (B, T, 3, H, W) of some videos to tune on, or their frames (B · T, 3, H, W) where each is seen alone."""

    modality, rows = "video", "videos"


def vpt(start: ImageStart, layer: int = 0, begin: str = "patches") -> Prompt:
    return _visual(start, layer, start.depth - layer, begin)


def vpt_shallow(start: ImageStart, layer: int = 0, begin: str = "patches") -> Prompt:
    return _visual(start, layer, 1, begin)


def _visual(start: ImageStart, first: int, layers: int, begin: str) -> Prompt:
    """begin: "random" as VPT's paper has it, or "patches": states of real images (SPT, Wang et al., ICML 2024).

    Random tokens in every layer disturb what comes out so much that learning first has to undo it.
    """
    frozen = start.transformer
    start.check_layer(first)
    if begin not in ("random", "patches"):
        raise CuetuneError(f"begin={begin}: choose random, or patches of images to tune on.")
    if begin == "patches":
        return LatePrompt(start.states()[first : first + layers], first)
    return VisualPrompt.begin(layers, start.length, frozen.width, frozen.patch, first, start.seed)


def frame(start: ImageStart, width: int | None = None, shrink: bool = False) -> Prompt:
    """By default the paper's 30 of 224 pixels, or as large a part of other images."""
    width = _part(start, 30) if width is None else width
    return FramePrompt.begin(start.backbone.pixel_shape, width, shrink, start.seed)


def patch(start: ImageStart, size: int | None = None, place: str = "corner") -> Prompt:
    """By default the paper's 50 of 224 pixels, or as large a part of other images."""
    size = _part(start, 50) if size is None else size
    return PatchPrompt.begin(start.backbone.pixel_shape, size, place, start.seed)


def _part(start: ImageStart, pixels: int) -> int:
    """So many pixels of an image of 224, in an image of the backbone's size."""
    return max(1, round(pixels * min(start.backbone.pixel_shape[1:]) / 224))


def temporal(start: ImageStart, own: int = 4, layer: int = 0) -> Prompt:
    start.check_layer(layer)
    frozen = start.backbone
    if not isinstance(frozen, FramesBackbone):
        raise CuetuneError(
            f"--prompt temporal gives each frame virtual tokens of its own, but {frozen.identity.name} sees all frames "
            "at once; choose --prompt vpt."
        )
    if own < 1:
        raise CuetuneError("--prompt-option own: each frame has 1 virtual token of its own or more.")
    layers = start.depth - layer
    return TemporalPrompt.begin(layers, start.length, own, frozen.frames, frozen.width, frozen.patch, layer, start.seed)


IMAGE_METHODS = {
    "vpt": Method("virtual tokens before every layer (VPT-deep, Jia 2022)", vpt, "head"),
    "vpt-shallow": Method("virtual tokens before the first layer (VPT-shallow, Jia 2022)", vpt_shallow, "head"),
    "prefix": Method("keys and values in every layer (Li & Liang 2021, direct)", prefix, "head"),
    "frame": Method("a frame of trained pixels (Bahng 2022)", frame, "head"),
    "patch": Method("a patch of trained pixels (Bahng 2022)", patch, "head"),
}
PIXEL_METHODS = {name: IMAGE_METHODS[name] for name in ("frame", "patch")}
VIDEO_METHODS = {
    "temporal": Method("virtual tokens before every layer, some of them each frame's own", temporal, "head"),
    **IMAGE_METHODS,
}
