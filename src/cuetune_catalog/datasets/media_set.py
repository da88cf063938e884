"""Data sets of images, audio or video."""

import csv
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cuetune.support.files import atomic_file, atomic_folder
from cuetune.support.ownership import FolderKind
from cuetune_catalog.datasets.base import cached
from cuetune_catalog.fetch.cache import Progress


class Fetched(Protocol):
    """An archive that is downloaded once, checked and kept."""

    @property
    def requirement(self) -> str: ...
    @property
    def sha256(self) -> str: ...
    @property
    def size(self) -> int: ...
    def fetch(self, progress: Progress | None = None) -> Path: ...


DATA = FolderKind("folder of a data set", re.compile(".*"))


@dataclass(frozen=True)
class MediaSet:
    """Labelled images, audio files or videos of several archives, written as a CSV file and a folder beside it.

    archives: where each part comes from. columns: of the CSV file, the path first. rows: how many. labels: rows by
    label; empty where the answer is free text. read: the rows of the archives, each with a file's content, its name and
    the texts of the other columns.
    """

    name: str
    description: str
    asked: str
    columns: tuple[str, ...]
    rows: int
    labels: Mapping[str, int]
    licence: str
    citation: str
    archives: Mapping[str, Fetched]
    read: Callable[[Mapping[str, Path]], Iterator[tuple[bytes, str, tuple[str, ...]]]]

    @property
    def archive(self) -> Fetched:
        """The first of its archives."""
        return next(iter(self.archives.values()))

    @property
    def task(self) -> str:
        """What is asked of a row, for a table."""
        return ", ".join(f"{label} {count:,}" for label, count in self.labels.items()) or f"write {self.asked}"

    def source(self) -> Path:
        """The CSV file in the cache, written when it is not there yet. Raises CuetuneError as `write`."""
        return cached(self)

    def write(self, path: Path, progress: Progress | None = None, *, keep: bool = False) -> None:
        """Fetch, read and write the files, then the CSV file, each whole or not at all.

        Raises CuetuneError as `Archive.fetch` does, and where a library that makes the files is not installed.
        """
        archives = {part: archive.fetch(progress) for part, archive in self.archives.items()}
        folder = path.with_suffix("")
        rows = []
        with atomic_folder(folder, overwrite=folder.exists(), check=DATA.check) as new:
            DATA.mark(new)
            for content, name, cells in self.read(archives):
                place = new / name
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(content)
                rows.append((f"{folder.name}/{name}", *cells))
        with atomic_file(path, keep=keep, newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(self.columns)
            writer.writerows(rows)
