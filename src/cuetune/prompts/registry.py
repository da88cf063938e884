"""Every tuned prompt by modality and name: how it is described, and how it begins on a backbone."""

from collections.abc import Mapping
from typing import Any

from cuetune.errors import CuetuneError
from cuetune.prompts.base import Prompt
from cuetune.prompts.start import Method, Start, given_options
from cuetune.prompts.start_audio import AUDIO_METHODS, AudioStart
from cuetune.prompts.start_image import IMAGE_METHODS, VIDEO_METHODS, ImageStart, VideoStart
from cuetune.prompts.start_text import TEXT_METHODS

METHODS: dict[str, Mapping[str, Method]] = {
    "text": TEXT_METHODS,
    "image": IMAGE_METHODS,
    "audio": AUDIO_METHODS,
    "video": VIDEO_METHODS,
}
# What a prompt begins from: `of(backbone, task, examples, length, seed, reads)`. Texts begin from words instead.
STARTS: dict[str, type[ImageStart] | type[AudioStart]] = {
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
