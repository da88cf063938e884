"""Every tuned prompt by modality and name: how it is described, and how it begins on a backbone."""

from collections.abc import Mapping
from typing import Any

from cuetune.backbones.base import Backbone
from cuetune.backbones.conv import ConvBackbone
from cuetune.backbones.registry import modality_of
from cuetune.backbones.text import TextBackbone
from cuetune.backbones.video import TubesBackbone
from cuetune.errors import CuetuneError
from cuetune.modality import VIDEO
from cuetune.prompts.base import Prompt
from cuetune.prompts.start import Method, Start, given_options
from cuetune.prompts.start_audio import AUDIO_METHODS, AudioStart
from cuetune.prompts.start_image import IMAGE_METHODS, PIXEL_METHODS, VIDEO_METHODS, ImageStart, VideoStart
from cuetune.prompts.start_text import DEEP, TEXT_METHODS

METHODS: dict[str, Mapping[str, Method]] = {
    "text": TEXT_METHODS,
    "image": IMAGE_METHODS,
    "audio": AUDIO_METHODS,
    "video": VIDEO_METHODS,
}
# What a prompt begins from: `of(backbone, task, examples, length, seed, reads)`. Texts begin from words instead.
STARTS: dict[str, Any] = {
    "image": ImageStart,
    "audio": AudioStart,
    "video": VideoStart,
}
UNTUNED = ", hard, calibrated, nearest or soft-from-hard"  # more names that `tune` knows for texts


def build(method: str, start: Start, options: Mapping[str, Any]) -> Prompt:
    """The first state of a prompt by its method's name. Raises CuetuneError for an unknown name or option."""
    methods = METHODS[start.modality]
    if method not in methods:
        known = ", ".join(methods) + (UNTUNED if start.modality == "text" else "")
        raise CuetuneError(f"unknown prompt {method!r} for {start.rows}; choose one of {known}.")
    return methods[method].build(start, **given_options(method, methods[method].options, options))


def methods_of(backbone: Backbone) -> Mapping[str, Method]:
    """The prompts that this backbone takes, by name.

    A model on the plain path takes prompts at the embedding layer only, a convolutional network only those in pixels,
    and a model that sees all frames at once has no place for each frame's own prompt.
    """
    methods = METHODS[modality_of(backbone).name]
    if isinstance(backbone, TextBackbone) and backbone.path_reason:
        return {name: each for name, each in methods.items() if name not in DEEP}
    if isinstance(backbone, ConvBackbone):
        return PIXEL_METHODS
    if isinstance(backbone, TubesBackbone):
        return {name: each for name, each in methods.items() if name != VIDEO.prompt}
    return methods


def usual_method(backbone: Backbone) -> str:
    """The prompt of this backbone where the user names none."""
    usual, taken = modality_of(backbone).prompt, methods_of(backbone)
    return usual if usual in taken else next(iter(taken))
