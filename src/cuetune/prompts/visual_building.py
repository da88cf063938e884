"""Every prompt for pictures by name: how it begins on a backbone. The names are those of `tune` and `compare`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from cuetune.backbones.image import ImageBackbone
from cuetune.backbones.seeing import SeeingBackbone
from cuetune.errors import CuetuneError
from cuetune.prompts.base import Prompt
from cuetune.prompts.building import Method, build_from
from cuetune.prompts.late import LatePrompt
from cuetune.prompts.pixels import FramePrompt, PatchPrompt
from cuetune.prompts.prefix import PrefixPrompt
from cuetune.prompts.visual import VisualPrompt
from cuetune.tasks.decoding import decode
from cuetune.tasks.task import Example, Task

SEEN = 8  # pictures that a prefix may begin from


@dataclass(frozen=True)
class ImageStart:
    """What a prompt begins from. length: virtual tokens. pixels: (B, 3, H, W) of some pictures to tune on.

    reads: the layer whose states the head reads, None for the final ones; a prompt has nothing from there on.
    """

    backbone: SeeingBackbone
    length: int
    seed: int
    pixels: Tensor
    reads: int | None = None

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
        """How many layers are run."""
        return self.backbone.layers if self.reads is None else self.reads

    def keys_values(self) -> tuple[Tensor, Tensor]:
        """(L, h_kv, P, d_h) keys and values of P patches of these pictures, drawn by the seed."""
        keys, values = self.transformer.keys_values(self.pixels)
        rows, places = self._drawn(keys.shape[3])
        return tuple(part[:, rows, :, places].permute(1, 2, 0, 3).float().cpu() for part in (keys, values))  # type: ignore[return-value]

    def states(self) -> Tensor:
        """(L, P, d) what goes into each layer at the places of the same patches."""
        inputs = self.transformer.layer_inputs(self.pixels)
        rows, places = self._drawn(inputs[0].shape[1])
        return torch.stack([each[rows, places] for each in inputs]).float().cpu()

    def _drawn(self, n_places: int) -> tuple[Tensor, Tensor]:
        """(P,) pictures and (P,) places of their patches, drawn by the seed."""
        generator = torch.Generator().manual_seed(self.seed)
        rows = torch.randint(len(self.pixels), (self.length,), generator=generator)
        return rows, torch.randint(self.transformer.n_first, n_places, (self.length,), generator=generator)


def start_from(
    backbone: SeeingBackbone,
    task: Task,
    examples: Sequence[Example],
    length: int,
    seed: int = 0,
    reads: int | None = None,
) -> ImageStart:
    """What a prompt begins from where these examples are tuned on. Raises CuetuneError for pictures that are none."""
    ((_, pixels, _),) = decode(examples[:SEEN], task, backbone.preprocessing)
    return ImageStart(backbone, length, seed, backbone.normalised(pixels), reads)


def vpt(start: ImageStart, layer: int = 0, begin: str = "patches") -> Prompt:
    return _visual(start, layer, start.depth - layer, begin)


def vpt_shallow(start: ImageStart, layer: int = 0, begin: str = "patches") -> Prompt:
    return _visual(start, layer, 1, begin)


def _visual(start: ImageStart, first: int, layers: int, begin: str) -> Prompt:
    """begin: "random" as VPT's paper has it, or "patches": states of real pictures (SPT, Wang et al., ICML 2024).

    Random tokens in every layer disturb what comes out so much that learning first has to undo it.
    """
    frozen = start.transformer
    _check_layer(start, first)
    if begin not in ("random", "patches"):
        raise CuetuneError(f"begin={begin}: choose random, or patches of pictures to tune on.")
    if begin == "patches":
        return LatePrompt(start.states()[first : first + layers], first)
    return VisualPrompt.begin(layers, start.length, frozen.width, frozen.patch, first, start.seed)


def prefix(start: ImageStart, layer: int = 0) -> Prompt:
    keys, values = start.keys_values()
    _check_layer(start, layer)
    return PrefixPrompt(keys[layer : start.depth], values[layer : start.depth], layer)


def frame(start: ImageStart, width: int | None = None, shrink: bool = False) -> Prompt:
    """By default the paper's 30 of 224 pixels, or as large a part of other pictures."""
    width = _part(start, 30) if width is None else width
    return FramePrompt.begin(start.backbone.pixel_shape, width, shrink, start.seed)


def patch(start: ImageStart, size: int | None = None, place: str = "corner") -> Prompt:
    """By default the paper's 50 of 224 pixels, or as large a part of other pictures."""
    size = _part(start, 50) if size is None else size
    return PatchPrompt.begin(start.backbone.pixel_shape, size, place, start.seed)


def _part(start: ImageStart, pixels: int) -> int:
    """So many pixels of a picture of 224, in a picture of the backbone's size."""
    return max(1, round(pixels * min(start.backbone.pixel_shape[1:]) / 224))


def _check_layer(start: ImageStart, layer: int) -> None:
    if not 0 <= layer < start.depth:
        raise CuetuneError(f"layer {layer}: of {start.backbone.identity.name} layers 0 to {start.depth - 1} are run.")


IMAGE_METHODS = {
    "vpt": Method("virtual tokens before every layer (VPT-deep, Jia 2022)", vpt, "head"),
    "vpt-shallow": Method("virtual tokens before the first layer (VPT-shallow, Jia 2022)", vpt_shallow, "head"),
    "prefix": Method("keys and values in every layer (Li & Liang 2021, direct)", prefix, "head"),
    "frame": Method("a frame of trained pixels (Bahng 2022)", frame, "head"),
    "patch": Method("a patch of trained pixels (Bahng 2022)", patch, "head"),
}


PIXEL_METHODS = {name: IMAGE_METHODS[name] for name in ("frame", "patch")}


def build_for_images(method: str, start: ImageStart, options: Mapping[str, Any]) -> Prompt:
    """The first state of a prompt by its method's name. Raises CuetuneError for an unknown name or option."""
    return build_from(IMAGE_METHODS, "pictures", method, start, options)
