"""Temporary names beside what is being written, and the removal of those whose process has died.

A temporary file or folder is called `.NAME.cuetune-TOKEN.partial`, and whoever writes it holds a lock of the kernel on
it, which ends with the process however that ends. What has such a name and is held by nobody is a leftover of ours.
Nothing else is ever removed: not a user's hidden folder, however old, and not what another process still writes.
"""

import errno
import os
import re
import secrets
import shutil
import stat
import time
from contextlib import suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # no such locks on Windows; age decides there
    fcntl = None  # type: ignore[assignment]

NAME = re.compile(r"\.(?P<name>.+)\.cuetune-[0-9a-f]{16}\.(?P<state>partial|old|removed)", re.DOTALL)
LOCK = re.compile(r"\..+\.cuetune-lock|\.cuetune-lock", re.DOTALL)  # see `locking`
HOLDER = re.compile(rb"(\d+\n)?")  # what a lock's file holds
LONGEST = 180  # bytes of NAME in a temporary name; file systems take 255 in all
STALE = 24 * 3600  # seconds after which a leftover has no owner any more, where the file system knows no locks
NO_LOCKS = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL, errno.EBADF}


def temporary_name(name: str, state: str = "partial") -> str:
    """A new hidden name for what will be called `name`: "partial" (being written), "old" or "removed"."""
    short = os.fsdecode(os.fsencode(name)[:LONGEST])
    return f".{short}.cuetune-{secrets.token_hex(8)}.{state}"


def hold(descriptor: int, *, wait: bool = True) -> bool:
    """Lock an open file or folder until it is closed; False where its file system knows no locks.

    Raises BlockingIOError where another process holds it and `wait` is false.
    """
    if fcntl is None:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError as error:
        if error.errno in NO_LOCKS:
            return False
        raise
    return True


def same_file(descriptor: int, path: Path) -> bool:
    """Whether what is open is still what lies at `path`."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    except FileNotFoundError:
        return False


def is_lock(path: Path) -> bool:
    """Whether a file with the name of a lock is one: empty, or with the number of the process that holds it."""
    if not stat.S_ISREG(path.lstat().st_mode):
        return False
    with path.open("rb") as stream:
        return HOLDER.fullmatch(stream.read(100)) is not None


def sweep(folder: Path) -> None:
    """Remove what processes that have died left in `folder`, and put back what one of them had just moved aside."""
    with suppress(OSError):  # a folder that cannot be listed holds nothing that we may remove
        for name in [item.name for item in os.scandir(folder) if item.name.startswith(".")]:
            with suppress(OSError):
                if (found := NAME.fullmatch(name)) or (LOCK.fullmatch(name) and is_lock(folder / name)):
                    _sweep_one(folder / name, found)


def _sweep_one(path: Path, found: "re.Match[str] | None") -> None:
    kind = os.O_RDONLY if path.is_dir() else os.O_RDWR
    descriptor = os.open(path, kind | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    try:
        if not hold(descriptor, wait=False) and time.time() - os.fstat(descriptor).st_mtime < STALE:
            return
        if same_file(descriptor, path):
            _remove(path, found)
    finally:
        os.close(descriptor)


def _remove(path: Path, found: "re.Match[str] | None") -> None:
    if found and found["state"] == "old" and not os.path.lexists(path.with_name(found["name"])):
        if len(os.fsencode(found["name"])) < LONGEST:  # else its whole name is not known
            os.rename(path, path.with_name(found["name"]))
    elif path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink()
