"""Where a library lies: a folder of this machine, or any address that fsspec reaches. Neither knows what a prompt is.

A version's folder appears whole or not at all. On this machine it is moved into place; elsewhere, where nothing can be
moved at once, its marker (cuetune.json) is written last and removed first, and a folder without it is not there yet.
"""

import hashlib
import os
import re
import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from cuetune.errors import CuetuneError
from cuetune.library.entry import Seen
from cuetune.library.record import HARMLESS, OURS, RECORD
from cuetune.support import console
from cuetune.support.cache_dir import cache_dir
from cuetune.support.files import atomic_file, atomic_folder, disk_error
from cuetune.support.leftovers import temporary_name
from cuetune.support.named_paths import possible
from cuetune.visible import one_line

LEFTOVER = re.compile(r"\.\w+\.\w+\.(partial|old|removed)")  # of a version's folder, by earlier versions of cuetune
STALE = 24 * 3600  # seconds after which a leftover has no owner any more
# File systems that would run code or programs, or where what is stored decides which other addresses are opened.
REFUSED = {
    *("async_wrapper", "asynclocal", "asyncwrapper", "blockcache", "cached", "dask", "dir", "dvc", "filecache"),
    *("generic", "git", "jlab", "jupyter", "pyscript", "reference", "simplecache"),
}


class Storage(ABC):
    """Files under relative paths with slashes. Every failure is a CuetuneError. shown: the address in messages."""

    shown: str

    @abstractmethod
    def files(self, under: str = "") -> dict[str, Seen]:
        """What lies at `under`, by path relative to it; down to the files of versions, seen from the library."""

    @abstractmethod
    def read(self, path: str, size: int | None = None) -> bytes:
        """A file's first `size` bytes, or all of it."""

    @abstractmethod
    def put(self, folder: str, files: Mapping[str, bytes]) -> None:
        """Write a version's folder; what stood there is replaced."""

    @abstractmethod
    def remove(self, folder: str, files: Mapping[str, Seen]) -> None:
        """Remove a version's folder with the files that a listing shows there."""

    @abstractmethod
    def write(self, path: str, text: str) -> None:
        """Replace a single file."""

    @abstractmethod
    def folder(self, folder: str, files: Mapping[str, Seen]) -> Path:
        """A version's folder on this machine, holding those files."""


def storage_at(address: str | Path) -> Storage:
    """The storage at a path, or at an address such as s3://bucket/prompts. Nothing is opened yet."""
    protocol, colon, rest = str(address).partition("://")
    if not colon:
        return LocalStorage(possible(Path(address).expanduser()))
    if protocol in ("file", "local"):
        return LocalStorage(Path(rest))
    return RemoteStorage(str(address), protocol)


class LocalStorage(Storage):
    """A folder of this machine."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.shown = str(root)

    def files(self, under: str = "") -> dict[str, Seen]:
        start = self.root / under
        try:
            return dict(_walk(start, depth=1 if under else 3))
        except FileNotFoundError:
            if not under and not self.root.exists():
                raise CuetuneError(
                    f"{self.root}: no library there; start one with cuetune library add {console.quoted(self.root)} "
                    "PROMPT."
                ) from None
            return {}
        except OSError as error:
            raise CuetuneError(f"{start}: cannot be read as a folder ({error.strerror}).") from error

    def read(self, path: str, size: int | None = None) -> bytes:
        place = self.root / path
        try:
            if not place.resolve(strict=True).is_relative_to(self.root.resolve()) or not place.is_file():
                raise CuetuneError(f"{place}: is not a plain file of the library.")
            with place.open("rb") as stream:
                return stream.read(-1 if size is None else size)
        except OSError as error:
            raise CuetuneError(f"{place}: cannot be read ({error.strerror}).") from error

    def put(self, folder: str, files: Mapping[str, bytes]) -> None:
        from cuetune.library.saving import write_safely

        place = self.root / folder
        _sweep(place.parent)
        with atomic_folder(place, overwrite=True, check=_check_version) as new:
            for name, content in files.items():
                write_safely(new / name, content)

    def remove(self, folder: str, files: Mapping[str, Seen]) -> None:
        place = self.root / folder
        hidden = place.with_name(temporary_name(place.name, "removed"))
        try:
            os.rename(place, hidden)  # gone at once, whatever becomes of the files
        except OSError as error:
            raise disk_error(place, error) from error
        shutil.rmtree(hidden, ignore_errors=True)
        with suppress(OSError):  # other versions, or a version that is just being written
            place.parent.rmdir()

    def write(self, path: str, text: str) -> None:
        with atomic_file(self.root / path) as stream:
            stream.write(text)

    def folder(self, folder: str, files: Mapping[str, Seen]) -> Path:
        return self.root / folder


def _walk(folder: Path, depth: int, before: str = "") -> Iterator[tuple[str, Seen]]:
    """Files up to `depth` levels down; what is a folder at the last level, or a link to one anywhere, counts as a file.

    Hidden folders above the last level are left out: they are other tools', or versions that are being written.
    """
    for item in sorted(os.scandir(folder), key=lambda item: item.name):
        if depth > 1 and item.is_dir(follow_symlinks=False):
            if not item.name.startswith("."):
                with suppress(FileNotFoundError):  # another process has just removed it
                    yield from _walk(folder / item.name, depth - 1, f"{before}{item.name}/")
            continue
        with suppress(FileNotFoundError):
            found = item.stat(follow_symlinks=False)
            yield before + item.name, Seen(found.st_size, f"{found.st_mtime_ns}-{found.st_ino}")


def _check_version(place: Path) -> None:
    """Raise CuetuneError where a version's folder, which is named by its content, holds what is no part of a prompt."""
    found = {path.name for path in place.iterdir()} if place.is_dir() else set()
    if strangers := sorted(found - OURS - HARMLESS):
        raise CuetuneError(f"{place}: holds {strangers[0]!r}, which is no part of a saved prompt; move it away.")


def _sweep(folder: Path) -> None:
    """Remove what processes that were killed long ago left of versions."""
    for path in folder.glob(".*"):
        with suppress(OSError):
            if LEFTOVER.fullmatch(path.name) and time.time() - path.stat().st_mtime > STALE:
                shutil.rmtree(path, ignore_errors=True)


class RemoteStorage(Storage):
    """An address of fsspec. No code comes from there, and nothing that is stored there is run."""

    def __init__(self, address: str, protocol: str) -> None:
        self.shown = re.sub(r"//[^/@]*@", "//", address)  # without a password
        self.address = address
        if protocol in REFUSED or "::" in address:
            raise CuetuneError(
                f"{self.shown}: libraries are not kept behind {protocol!r} addresses or chains of them; give the "
                "address of a plain storage, such as s3://bucket/prompts, or a folder."
            )
        with self._said("be reached"):
            from fsspec.core import url_to_fs

            self.system, root = url_to_fs(address)
            self.root = root.rstrip("/")

    @contextmanager
    def _said(self, what: str, path: str = "") -> Iterator[None]:
        """Whatever a file system raises, as one line: each brings kinds of its own (network, permission, package)."""
        try:
            yield
        except CuetuneError:
            raise
        except ImportError as error:
            raise CuetuneError(f"{self.shown}: {error}; install what it names with pip.") from error
        except Exception as error:
            reason = one_line(str(error))[:120] or type(error).__name__
            place = f"{self.shown.rstrip('/')}/{path}" if path else self.shown
            raise CuetuneError(f"{place}: cannot {what} ({reason}).") from error

    def _at(self, path: str) -> str:
        return f"{self.root}/{path}" if path else self.root

    def files(self, under: str = "") -> dict[str, Seen]:
        start = self._at(under)
        with self._said("be listed", under):
            self.system.invalidate_cache()  # other machines write there too
            try:
                found = self.system.find(start, detail=True)
            except FileNotFoundError:
                return {}
            names = {name.removeprefix(start).lstrip("/"): info for name, info in found.items()}
            return {name: Seen(int(info.get("size") or 0), _changed(info)) for name, info in names.items() if name}

    def read(self, path: str, size: int | None = None) -> bytes:
        with self._said("be read", path):
            return bytes(self.system.cat_file(self._at(path), end=size))

    def put(self, folder: str, files: Mapping[str, bytes]) -> None:
        with self._said("be written", folder):
            self.system.makedirs(self._at(folder), exist_ok=True)
            for name in sorted(files, key=lambda name: name == RECORD):
                self.system.pipe_file(self._at(f"{folder}/{name}"), files[name])

    def remove(self, folder: str, files: Mapping[str, Seen]) -> None:
        with self._said("be removed", folder):
            for name in sorted(files, key=lambda name: name != RECORD):
                self.system.rm_file(self._at(f"{folder}/{name}"))
        for left in (folder, folder.partition("/")[0]):
            with suppress(Exception):  # object stores have no folders; elsewhere other versions may lie there
                self.system.rmdir(self._at(left))

    def write(self, path: str, text: str) -> None:
        with self._said("be written", path):
            self.system.pipe_file(self._at(path), text.encode())

    def folder(self, folder: str, files: Mapping[str, Seen]) -> Path:
        """A copy in the cache, fetched anew when it is another one than at the address."""
        place = cache_dir() / "library" / hashlib.sha256(self.address.encode()).hexdigest()[:16] / folder
        marker = self.read(f"{folder}/{RECORD}")
        if not (place / RECORD).is_file() or (place / RECORD).read_bytes() != marker:
            with atomic_folder(place, overwrite=True, check=_check_version) as new:
                for name in files:
                    (new / name).write_bytes(self.read(f"{folder}/{name}"))
        return place


def _changed(info: Mapping[str, Any]) -> str:
    """What a file system says of a file's state, in the words of the one or the other."""
    said = (info.get(key) for key in ("ETag", "etag", "md5Hash", "mtime", "LastModified", "last_modified", "created"))
    return next((str(each) for each in said if each is not None), "")
