"""One task's part in a run, for each modality."""

from collections.abc import Callable

from cuetune.tuning.runs.audio import AudioRun
from cuetune.tuning.runs.base import Run, TaskData
from cuetune.tuning.runs.image import ImageRun
from cuetune.tuning.runs.text import TextRun

RUNS: dict[str, Callable[..., Run]] = {
    "text": TextRun,
    "image": ImageRun,
    "audio": AudioRun,
    "video": ImageRun,
}

__all__ = ["RUNS", "AudioRun", "ImageRun", "Run", "TaskData", "TextRun"]
