"""Recordings as rows: a folder for each class, a table with a column of paths, or data sets that hold them."""

import re
from collections.abc import Sequence
from typing import Any

from cuetune.errors import CuetuneError
from cuetune.tasks.inference import infer_task
from cuetune.tasks.media import Media
from cuetune.tasks.task import Row, Task

SAID = ("caption", "transcript", "transcription", "sentence", "text", "label")  # columns of what is said
SOUNDS = Media(
    field="audio",
    noun="recording",
    endings=(".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".au"),
    columns=("audio", "sound", "recording", "wav", "clip", "path", "file", "filename", "file_name"),
    begins=re.compile(rb"RIFF....WAVE|fLaC|OggS|ID3|\xff[\xe2-\xfb]|FORM....AIF|\.snd", re.DOTALL),
    module="soundfile.",
)


def infer_transcripts(
    rows: Sequence[Row],
    *,
    column: str | None = None,
    label: str | None = None,
    language: str = "",
    name: str = "task",
    **others: Any,
) -> Task:
    """A task that writes down what is said. language: its code, for a model that knows several; the instruction.

    Raises CuetuneError where it cannot be told which column holds the recordings, or which what is said in them.
    """
    if others:
        raise CuetuneError(f"--{next(iter(others)).replace('_', '-')}: a transcript has no labels; leave it out.")
    if not rows:
        raise CuetuneError("no rows to learn the task from.")
    column = column or SOUNDS.column(rows[0])
    named = label or next((each for each in SAID if each in rows[0].values), None)
    return infer_task(
        rows, text=column, label=named, template="{audio}", generate=True, instruction=language, name=name
    )
