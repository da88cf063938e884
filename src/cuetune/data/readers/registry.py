"""The reader of each modality, and which of them some data needs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cuetune.data.installed_data import installed
from cuetune.data.readers.base import Reader
from cuetune.data.readers.media import AudioReader, ImageReader, VideoReader
from cuetune.data.readers.text import TextReader
from cuetune.data.reading import first_rows
from cuetune.data.task import Task
from cuetune.errors import CuetuneError
from cuetune.modality import modality_named
from cuetune.support.named_paths import possible

# Texts come last: whatever no other reader recognises is taken for one.
READERS: dict[str, Reader] = {
    each.modality.name: each for each in (ImageReader(), AudioReader(), VideoReader(), TextReader())
}


def reader_of(task: Task) -> Reader:
    """The reader of a task's rows. Raises CuetuneError for a modality that this version does not know."""
    return READERS[modality_named(task.modality).name]


def reader_for(source: Any, options: Mapping[str, Any], encoding: str = "utf-8") -> Reader:
    """The reader of some data. options: a column ("text", "image") or a template named there decides; else the first
    row.

    Raises CuetuneError for what cannot be read.
    """
    named = [reader for name, reader in READERS.items() if options.get(name)]
    if len(named) > 1:
        first, second = (reader.modality.name for reader in named[:2])
        raise CuetuneError(f"--{first} and --{second} name columns of different kinds; give one.")
    if named or options.get("template"):
        return named[0] if named else READERS["text"]
    source = installed(source)
    if isinstance(source, str | Path) and Path(possible(source)).is_dir():
        found = [reader for reader in READERS.values() if reader.in_folder(Path(source))]
        if found:
            return found[0]
    first_ones = first_rows(source, encoding)
    return next(reader for reader in READERS.values() if reader.holds(reader.placed(first_ones, source)))
