"""Files appear whole or not at all: written beside their target under a temporary name, then moved into place."""

import ctypes
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from cuetune.errors import CuetuneError


def disk_error(path: Path, error: OSError) -> CuetuneError:
    """The one line for a write that the disk refused (full, read-only, no permission)."""
    reason = error.strerror or str(error)
    return CuetuneError(
        f"{path}: cannot write: {reason}. Nothing was changed there; free space or choose another place."
    )


@contextmanager
def atomic_file(path: str | Path, mode: str = "w", **open_options: Any) -> Iterator[IO[Any]]:
    """Open a file that replaces `path` only when the block ends without an error.

    Raises CuetuneError when the disk refuses; whatever stood at `path` before is then still there, whole.
    """
    path = Path(path)
    if "b" not in mode:
        open_options.setdefault("encoding", "utf-8")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".partial")
    except OSError as error:
        raise disk_error(path, error) from error
    try:
        with os.fdopen(descriptor, mode, **open_options) as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except OSError as error:
        raise disk_error(path, error) from error
    finally:
        with suppress(FileNotFoundError):
            os.unlink(temporary)


@contextmanager
def atomic_folder(path: str | Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Fill a new folder that takes the place of `path` only when the block ends without an error.

    Raises CuetuneError when `path` exists and `overwrite` is false, or when the disk refuses.
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise CuetuneError(f"{path}: exists already; choose another place or pass overwrite (--overwrite).")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=".partial"))
    except OSError as error:
        raise disk_error(path, error) from error
    try:
        yield temporary
        _open_to_others(temporary)
        _swap(temporary, path)
    except OSError as error:
        raise disk_error(path, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _swap(new: Path, target: Path) -> None:
    """Move `new` to `target`; an older folder there gives way only when the new one stands."""
    if not target.exists():
        os.replace(new, target)
    elif not _exchange(new, target):
        old = new.with_suffix(".old")
        os.replace(target, old)
        try:
            os.replace(new, target)
        except OSError:
            os.replace(old, target)
            raise
        shutil.rmtree(old, ignore_errors=True)


def _exchange(new: Path, target: Path) -> bool:
    """Let two folders change places in one step, so that even a kill leaves one of them there; False where unknown."""
    renameat2 = getattr(ctypes.CDLL(None), "renameat2", None) if sys.platform.startswith("linux") else None
    if renameat2 is None:
        return False
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    return bool(renameat2(here, os.fsencode(new.absolute()), here, os.fsencode(target.absolute()), exchange) == 0)


def _open_to_others(folder: Path) -> None:
    """Permissions as if the files had been created plainly; temporary ones start as readable by the owner alone."""
    mask = _umask()
    os.chmod(folder, 0o777 & ~mask)
    for path in folder.rglob("*"):
        os.chmod(path, (0o777 if path.is_dir() else 0o666) & ~mask)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
