"""Which folders are cuetune's own: it deletes and overwrites only what it can prove that it wrote.

A saved prompt says so in its cuetune.json, a universal prompt in its universal.json. Every other folder that cuetune
makes for itself (of a run, of a model or of data in the cache, a library) carries a small file, `.cuetune`, that names
what kind of folder it is. A folder from before there were such files is known by what its own files hold (`proof`).
Even in a folder of ours only the names that cuetune writes there are touched; anything else in it stays.
"""

import json
import os
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cuetune.errors import CuetuneError
from cuetune.support.files import atomic_file, disk_error

MARKER = ".cuetune"
LOCK_INSIDE = ".cuetune-lock"  # see `locking`
SMALL = 16 * 2**20  # bytes of the largest JSON file that is read to learn whose it is


def _nothing(_: Path) -> bool:
    return False


@dataclass(frozen=True)
class FolderKind:
    """A kind of folder that cuetune makes.

    name: in the marker and in messages. holds: the names that cuetune writes in it, as a pattern. proof: whether the
    files of a folder without a marker show that cuetune wrote them.
    """

    name: str
    holds: re.Pattern[str]
    proof: Callable[[Path], bool] = _nothing

    def owns(self, folder: Path) -> bool:
        """Whether this folder is one of ours, of this kind."""
        return read_object(folder / MARKER).get("cuetune") == self.name or self.proof(folder)

    def check(self, folder: Path) -> None:
        """Raise CuetuneError where something stands at `folder` that is not ours; an empty folder may be taken."""
        if not os.path.lexists(folder) or is_empty(folder):
            return
        if not folder.is_dir() or not self.owns(folder):
            raise CuetuneError(
                f"{folder}: is in the way, and cuetune did not write it (it would be a {self.name}); move it away or "
                "choose another place."
            )

    def claim(self, folder: Path) -> None:
        """Make the folder, or take it where it is ours or empty, and mark it. Raises CuetuneError for any other."""
        self.check(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise disk_error(folder, error) from error
        if not (folder / MARKER).exists():
            self.mark(folder)

    def mark(self, folder: Path) -> None:
        with atomic_file(folder / MARKER) as stream:
            stream.write(json.dumps({"cuetune": self.name}) + "\n")

    def check_alone(self, folder: Path) -> None:
        """As `check`, and raise CuetuneError too where a folder of ours holds anything that cuetune does not write."""
        self.check(folder)
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            if path.name not in (MARKER, LOCK_INSIDE) and not self.holds.fullmatch(path.name):
                raise CuetuneError(f"{folder}: holds {path.name!r}, which cuetune did not write; move it away.")

    def clear(self, folder: Path) -> None:
        """Remove our files in a folder of ours, and the folder itself where nothing else is left in it."""
        if folder.is_symlink() or not folder.is_dir() or not self.owns(folder):
            return
        for path in folder.iterdir():
            if self.holds.fullmatch(path.name) and not path.is_dir():
                path.unlink(missing_ok=True)
        if {path.name for path in folder.iterdir()} <= {MARKER}:
            (folder / MARKER).unlink(missing_ok=True)
            with suppress(OSError):
                folder.rmdir()


def is_empty(folder: Path) -> bool:
    """Whether this is a folder with nothing in it but a lock of ours."""
    return folder.is_dir() and {path.name for path in folder.iterdir()} <= {LOCK_INSIDE}


def read_object(path: Path) -> dict[str, Any]:
    """A small JSON file's object; empty for anything else that may stand there."""
    try:
        if path.is_symlink() or not path.is_file() or path.stat().st_size > SMALL:
            return {}
        values = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}


def begins_with(path: Path, head: re.Pattern[bytes]) -> bool:
    """Whether a file, whole or cut short, begins as ours do."""
    try:
        if path.is_symlink() or not path.is_file():
            return False
        with path.open("rb") as stream:
            return head.match(stream.read(4096)) is not None
    except OSError:
        return False
