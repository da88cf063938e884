"""One writer at a time: a folder that is read, changed and written is locked, and compared before it is replaced.

The lock is one of the kernel (flock) on a small file beside the folder, or in it where the folder itself stays. It
ends with the process, also with one that is killed. Where a file system has no locks, a line says so and work goes on.
"""

import functools
import inspect
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from cuetune.errors import CuetuneError
from cuetune.support import console
from cuetune.support.files import behind_links, disk_error
from cuetune.support.leftovers import hold, is_lock, same_file
from cuetune.support.named_paths import possible
from cuetune.support.ownership import LOCK_INSIDE, MARKER

P = ParamSpec("P")
R = TypeVar("R")

UNNOTICED = {MARKER, LOCK_INSIDE, ".DS_Store"}


@dataclass
class Held:
    """A folder that this process alone writes. names: its files that matter; None for all."""

    folder: Path
    names: Sequence[str] | None = None
    seen: list[tuple[object, ...]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.seen = self._state()

    @contextmanager
    def replacing(self) -> Iterator[None]:
        """Around what replaces the content. Raises CuetuneError where that was changed since it was last seen."""
        if self._state() != self.seen:
            raise CuetuneError(
                f"{self.folder}: was changed by another program in the meantime, so it is left as it is and nothing "
                "was written; give the command again."
            )
        yield
        self.seen = self._state()

    def _state(self) -> list[tuple[object, ...]]:
        """What changes with every change of the files: sizes, times and numbers of their places on the disk."""
        try:
            found = {item.name: item.stat() for item in os.scandir(self.folder)}
        except OSError:
            return []
        wanted = set(found) - UNNOTICED if self.names is None else set(found) & set(self.names)
        return [(name, found[name].st_size, found[name].st_mtime_ns, found[name].st_ino) for name in sorted(wanted)]


_held: ContextVar[dict[Path, Held]] = ContextVar("held", default={})  # noqa: B039 - replaced, never changed


@contextmanager
def locked(folder: str | Path, *, inside: bool = False, names: Sequence[str] | None = None) -> Iterator[Held]:
    """Hold a folder, there already or not, until the block ends; within it, again at no cost.

    inside: the folder stays where it is while its files change, so the lock lies in it. names: files of it that matter
    (`Held`). Raises CuetuneError at once where another process holds it, or where nothing can be written.
    """
    place = behind_links(possible(Path(folder)), folder=True).resolve()
    if (held := _held.get().get(place)) is not None:
        yield held
        return
    path = place / LOCK_INSIDE if inside else place.with_name(f".{place.name[:200]}.cuetune-lock")
    made = _make(path.parent)
    try:
        descriptor = _take(path, Path(folder))
    except BaseException:
        _unmake(made)
        raise
    try:
        held = Held(place, names)
        token = _held.set({**_held.get(), place: held})
        try:
            yield held
        finally:
            _held.reset(token)
    finally:
        try:
            with suppress(OSError):
                path.unlink()  # while it is still held, so that it is never another's
        finally:
            os.close(descriptor)
        _unmake(made)


def alone(
    *options: str, inside: bool = False, names: Sequence[str] | None = None
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A decorator: the function runs alone on the folder that the first of these arguments names which is given."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def run(*args: P.args, **kwargs: P.kwargs) -> R:
            given: dict[str, Any] = signature.bind(*args, **kwargs).arguments
            folder = next(given[name] for name in options if given.get(name) is not None)
            with locked(folder, inside=inside, names=names):
                return function(*args, **kwargs)

        return run

    return decorate


def _take(path: Path, folder: Path) -> int:
    """An open file that is locked, where the file system has locks."""
    while True:
        _check_lock(path)
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
        except FileNotFoundError:  # another command has just taken back the empty folder that it had made
            _make(path.parent)
            continue
        except OSError as error:
            raise disk_error(folder, error) from error
        try:
            known = hold(descriptor, wait=False)
        except BlockingIOError:
            who = os.read(descriptor, 100).decode(errors="replace").strip()
            os.close(descriptor)
            raise CuetuneError(
                f"{folder}: another cuetune command{f' (process {who})' if who.isdigit() else ''} is at work there; "
                "wait until it has ended, or choose another place."
            ) from None
        except OSError as error:
            os.close(descriptor)
            raise disk_error(folder, error) from error
        if known and not same_file(descriptor, path):  # its last holder has just removed it
            os.close(descriptor)
            continue
        if not known:
            console.note(f"{folder}: this file system has no locks; let only one command write there.")
        with suppress(OSError, AttributeError):
            os.truncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        return descriptor


def _check_lock(path: Path) -> None:
    """Raise CuetuneError where something that is no lock of ours has the lock's name."""
    with suppress(OSError):
        if not is_lock(path):
            raise CuetuneError(
                f"{path}: is in the way, and cuetune did not write it (it would be a lock); move it away."
            )


def _make(folder: Path) -> list[Path]:
    """Make a folder; which folders had to be made for it, the outermost first."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()][::-1]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise disk_error(folder, error) from error
    return missing


def _unmake(made: Sequence[Path]) -> None:
    """Take back those of the folders that are still empty."""
    for folder in reversed(made):
        with suppress(OSError):
            folder.rmdir()
