"""Paths that a user names. What the file system cannot even look up is one plain line, before anything else is done."""

import os
from pathlib import Path
from typing import TypeVar

from cuetune.errors import CuetuneError

SHOWN = 60  # characters of a long path in the message
AnyPath = TypeVar("AnyPath", str, Path, str | Path)


def possible(path: AnyPath) -> AnyPath:
    """The same path.

    Raises CuetuneError for one that is too long, holds a NUL, leads in a circle, or lies in a folder that is closed.
    """
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (OSError, ValueError) as error:
        text = str(path)
        shown = text if len(text) <= SHOWN else f"{text[:SHOWN]}… ({len(text):,} characters)"
        reason = getattr(error, "strerror", None) or str(error)
        raise CuetuneError(f"{shown}: no path that can be used ({reason}); name another.") from error
    return path


def relative_to_here(path: str | Path) -> str | None:
    """A path as it is named from the working folder; None for one that leads elsewhere and was given as a whole path.

    Where it is written down it names nothing of the machine beyond the project.
    """
    path = Path(path)
    if not path.is_absolute():
        return str(path)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else None
