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
