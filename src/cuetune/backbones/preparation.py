"""How a model prepares rows that are no texts, without its weights."""

from collections.abc import Callable
from typing import Any

from cuetune.backbones.audio_loading import load_hearing
from cuetune.backbones.base import Backbone
from cuetune.backbones.image_loading import load_preprocessing
from cuetune.backbones.video_loading import load_clip_preprocessing
from cuetune.errors import CuetuneError

LOAD: dict[str, Callable[..., Any]] = {
    "image": load_preprocessing,
    "audio": load_hearing,
    "video": load_clip_preprocessing,
}


def preparation_of(modality: str, model: str | Backbone) -> Any:
    """The `Preprocessing` or `Hearing` of a model for rows of a modality; None of texts.

    None as well where it cannot be read, which loading the model will say.
    """
    if isinstance(model, Backbone):
        return getattr(model, "preprocessing", None) or getattr(model, "hearing", None)
    if modality not in LOAD:
        return None
    try:
        return LOAD[modality](model)
    except (CuetuneError, OSError, ValueError):
        return None
