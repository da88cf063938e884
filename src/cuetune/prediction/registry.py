"""A prompt ready to answer, on whatever its backbone reads."""

from collections.abc import Callable
from typing import Any

from cuetune.backbones.base import Backbone
from cuetune.backbones.generation import Writing
from cuetune.backbones.registry import modality_of
from cuetune.data.skip_report import Skipped
from cuetune.data.task import Task
from cuetune.errors import CuetuneError
from cuetune.prediction.audio import AudioPredictor
from cuetune.prediction.base import BasePredictor
from cuetune.prediction.edited import EditedPredictor
from cuetune.prediction.image import ImagePredictor
from cuetune.prediction.text import Predictor
from cuetune.prompts.base import Prompt
from cuetune.readouts import Head, MediaHead, TextHead, audio_readout


def _text(
    backbone: Any, task: Task, prompt: Prompt, head: Head | None, writing: Writing | None, skipped: Skipped | None
) -> BasePredictor:
    answers: Any = EditedPredictor if prompt.kind == "corrected" else Predictor
    read = TextHead.of(backbone, task, head) if head else None
    predictor: BasePredictor = answers(backbone, task, prompt, writing, read)
    return predictor


def _image(
    backbone: Any, task: Task, prompt: Prompt, head: Head | None, writing: Writing | None, skipped: Skipped | None
) -> BasePredictor:
    if head is None:
        raise CuetuneError(f"a {prompt.kind!r} prompt for images without a trained head; tune it again.")
    return ImagePredictor(backbone, task, prompt, MediaHead.of(backbone, task, head), skipped)


def _audio(
    backbone: Any, task: Task, prompt: Prompt, head: Head | None, writing: Writing | None, skipped: Skipped | None
) -> BasePredictor:
    if head is None and not task.generates:
        raise CuetuneError(f"a {prompt.kind!r} prompt for audio without a trained head; tune it again.")
    readout = MediaHead.of(backbone, task, head) if head else audio_readout(backbone, task)
    return AudioPredictor(backbone, task, prompt, readout, skipped)


PREDICTORS: dict[str, Callable[..., BasePredictor]] = {"text": _text, "image": _image, "audio": _audio, "video": _image}


def predictor_for(
    backbone: Backbone,
    task: Task,
    prompt: Prompt,
    head: Head | None = None,
    *,
    writing: Writing | None = None,
    skipped: Skipped | None = None,
) -> BasePredictor:
    """A prompt and its head, ready to answer. skipped: counts rows that cannot be read and leaves them out."""
    return PREDICTORS[modality_of(backbone).name](backbone, task, prompt, head, writing, skipped)
