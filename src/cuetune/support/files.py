"""Files appear whole or not at all: written beside their target under a temporary name, then moved into place.

What is replaced keeps its permissions and its owner. A link is followed: what it points to is replaced and not the
link. What is neither a file nor a folder (a pipe, a device) is refused.
"""

import ctypes
import errno
import filecmp
import os
import shutil
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from cuetune.errors import CuetuneError
from cuetune.support.leftovers import hold, same_file, sweep, temporary_name
from cuetune.support.named_paths import possible

Check = Callable[[Path], None]  # raises CuetuneError for a folder that must not give way


def disk_error(path: Path, error: OSError) -> CuetuneError:
    """The one line for a write that the disk refused (full, read-only, no permission)."""
    reason = error.strerror or str(error)
    return CuetuneError(
        f"{path}: cannot write: {reason}. Nothing was changed there; free space or choose another place."
    )


def behind_links(path: Path, *, folder: bool = False) -> Path:
    """Where `path` is written: itself, or what it links to. Raises CuetuneError for what is no file (no folder)."""
    if not os.path.islink(path):
        possible(path)
    try:
        real = path.resolve() if path.is_symlink() else path
        found = real.stat() if os.path.lexists(real) else None
    except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle
        raise CuetuneError(f"{path}: is a link that leads nowhere ({error}); choose another place.") from error
    if found is not None and folder and not stat.S_ISDIR(found.st_mode):
        raise CuetuneError(f"{path}: is a file; choose another place for the folder.")
    if found is not None and not folder and not stat.S_ISREG(found.st_mode):
        what = "a folder" if stat.S_ISDIR(found.st_mode) else "a pipe or a device"
        raise CuetuneError(f"{path}: is {what}, not a file that can be replaced; name a file.")
    if found is not None and not os.access(real, os.W_OK):
        raise disk_error(path, PermissionError(errno.EACCES, os.strerror(errno.EACCES)))
    return real


@contextmanager
def atomic_file(path: str | Path, mode: str = "w", *, keep: bool = False, **open_options: Any) -> Iterator[IO[Any]]:
    """Open a file that replaces `path` only when the block ends without an error.

    keep: a file that stands at `path` with another content stays, and that is an error. Raises
    CuetuneError when the disk refuses; whatever stood at `path` before is then still there, whole.
    """
    path = behind_links(Path(path))
    if "b" not in mode:
        open_options.setdefault("encoding", "utf-8")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path.parent)
        temporary, descriptor = _new_file(path)
    except OSError as error:
        raise disk_error(path, error) from error
    try:
        with os.fdopen(descriptor, mode, **open_options) as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
            if keep and path.exists() and not filecmp.cmp(temporary, path, shallow=False):
                raise CuetuneError(f"{path}: exists already and holds something else; move it away.")
            _keep_owner(temporary, path)
            os.replace(temporary, path)
    except OSError as error:
        raise disk_error(path, error) from error
    finally:
        with suppress(FileNotFoundError):
            os.unlink(temporary)


@contextmanager
def atomic_folder(path: str | Path, *, overwrite: bool = False, check: Check | None = None) -> Iterator[Path]:
    """Fill a new folder that takes the place of `path` only when the block ends without an error.

    check: asked before anything is done, and again before an older folder gives way. Raises CuetuneError when `path`
    exists and `overwrite` is false, or when the disk refuses.
    """
    path = behind_links(Path(path), folder=True)
    check = check or (lambda _: None)
    if path.exists() and not overwrite:
        raise CuetuneError(f"{path}: exists already; choose another place or pass overwrite (--overwrite).")
    check(path)
    with temporary_folder(path.parent, path) as temporary:
        yield temporary
        _open_to_others(temporary)
        if path.exists():
            check(path)
            _keep_modes(temporary, path)
        _swap(temporary, path)


@contextmanager
def temporary_folder(parent: Path, path: Path | None = None) -> Iterator[Path]:
    """A folder in `parent` that is gone when the block ends, unless it was moved away.

    path: what it will become, and what is named when the disk refuses. A kill leaves what the next one here sweeps up.
    """
    path = path or parent
    try:
        parent.mkdir(parents=True, exist_ok=True)
        sweep(parent)
        temporary, descriptor = _new_folder(parent, path)
    except OSError as error:
        raise disk_error(path, error) from error
    try:
        yield temporary
    except OSError as error:
        raise disk_error(path, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        os.close(descriptor)


def _new_file(path: Path) -> tuple[Path, int]:
    """A temporary file beside `path` that nobody else sweeps away, no more open to others than `path` is."""
    flags, allowed = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600 if path.exists() else 0o666
    while True:
        temporary = path.with_name(temporary_name(path.name))
        descriptor = os.open(temporary, flags, allowed)
        hold(descriptor)
        if same_file(descriptor, temporary):
            return temporary, descriptor
        os.close(descriptor)


def _new_folder(parent: Path, path: Path) -> tuple[Path, int]:
    """The same for a folder."""
    allowed = stat.S_IMODE(path.stat().st_mode) | 0o700 if path != parent and path.exists() else 0o777
    while True:
        temporary = parent / temporary_name(path.name)
        temporary.mkdir(mode=allowed)
        descriptor = os.open(temporary, os.O_RDONLY)
        hold(descriptor)
        if same_file(descriptor, temporary):
            return temporary, descriptor
        os.close(descriptor)


def _keep_owner(new: Path, old: Path) -> None:
    """Give a new file or folder the owner and the permissions of the one that it replaces, if there is one."""
    with suppress(FileNotFoundError):
        was = old.stat()
        with suppress(OSError, AttributeError):  # only root may give a file away
            os.chown(new, was.st_uid, was.st_gid)
        os.chmod(new, stat.S_IMODE(was.st_mode))


def _keep_modes(new: Path, old: Path) -> None:
    """The same for a folder and all in it; what `old` did not have is no more open than any of what it had."""
    known = [path for path in old.rglob("*") if path.is_file() and not path.is_symlink()]
    narrow = 0o777
    for path in known:
        narrow &= stat.S_IMODE(path.stat().st_mode)
    for path in new.rglob("*"):
        before = old / path.relative_to(new)
        if os.path.lexists(before) and not before.is_symlink():
            _keep_owner(path, before)
        elif known and path.is_file():
            os.chmod(path, stat.S_IMODE(path.stat().st_mode) & narrow)
    _keep_owner(new, old)


def _swap(new: Path, target: Path) -> None:
    """Move `new` to `target`; an older folder there gives way only when the new one stands."""
    if not target.exists():
        os.replace(new, target)
    elif not _exchange(new, target):
        descriptor = os.open(target, os.O_RDONLY)
        hold(descriptor)
        old = target.with_name(temporary_name(target.name, "old"))
        try:
            os.replace(target, old)
            try:
                os.replace(new, target)
            except OSError:
                os.replace(old, target)
                raise
            shutil.rmtree(old, ignore_errors=True)
        finally:
            os.close(descriptor)


def _exchange(new: Path, target: Path) -> bool:
    """Let two folders change places in one step, so that even a kill leaves one of them there; False where unknown."""
    renameat2 = getattr(ctypes.CDLL(None), "renameat2", None) if sys.platform.startswith("linux") else None
    if renameat2 is None:
        return False
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    return bool(renameat2(here, os.fsencode(new.absolute()), here, os.fsencode(target.absolute()), exchange) == 0)


def _open_to_others(folder: Path) -> None:
    """Permissions as if the files had been created plainly; what libraries write may be readable by the owner alone."""
    mask = 0o777 & ~stat.S_IMODE(folder.stat().st_mode)  # the process's own, as the folder was made under it
    for path in folder.rglob("*"):
        os.chmod(path, (0o777 if path.is_dir() else 0o666) & ~mask)
