"""Audio as rows: folders of classes, tables with a column of paths, or data sets that hold it."""

import re
from collections.abc import Sequence
from functools import cache
from typing import Any

from cuetune.data.media.rows import Media
from cuetune.data.row import Row
from cuetune.data.task import Task
from cuetune.data.task_inference import infer_task
from cuetune.errors import CuetuneError

SAID = ("caption", "transcript", "transcription", "sentence", "text", "label")  # columns of what is said
# Endings of libsndfile's formats that are not the formats' own names, and of those that PyAV alone decodes.
OTHER_NAMES = (
    ".aif",
    ".aifc",
    ".snd",
    ".oga",
    ".opus",
    ".bwf",
    ".mat",
    ".iff",
    ".8svx",
    ".sf",
    ".sph",
    ".mp2",
    ".mpga",
)
BY_PYAV = (
    ".m4a",
    ".m4b",
    ".aac",
    ".wma",
    ".amr",
    ".awb",
    ".ac3",
    ".eac3",
    ".ape",
    ".wv",
    ".mka",
    ".tta",
    ".dts",
    ".weba",
)


@cache
def decoded_audio() -> frozenset[str]:
    """The endings of all audio files that libsndfile decodes, or PyAV where it is installed; not those of videos."""
    from importlib.util import find_spec

    found = set(BY_PYAV) if find_spec("av") else set()
    try:
        import soundfile
    except (ImportError, OSError):
        return frozenset(found)
    named = {f".{name.lower()}" for name in soundfile.available_formats()}
    return frozenset(found | set(OTHER_NAMES) | named - {".raw"})  # raw samples do not say their rate


SOUNDS = Media(
    field="audio",
    noun="audio file",
    endings=(".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".au"),
    columns=("audio", "sound", "recording", "wav", "clip", "path", "file", "filename", "file_name"),
    begins=re.compile(
        rb"(RIFF|RIFX|RF64)....WAVE|fLaC|OggS|ID3|\xff[\xe2-\xfd]|\xff[\xf0\xf1\xf8\xf9]|FORM....(AIF|8SVX)|\.snd|caff|"
        rb"....ftyp(M4A|M4B)|#!AMR|riff\x2e\x91\xcf\x11|wvpk|MAC |Creative Voice File|NIST_1A",
        re.DOTALL,
    ),
    module="soundfile.",
    decoded=decoded_audio,
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

    Raises CuetuneError where it cannot be told which column holds the audio files, or which what is said in them.
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
