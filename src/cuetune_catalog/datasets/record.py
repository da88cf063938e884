"""A data set: what `datasets.toml` declares of it, and its rows, read by one of `readers`."""

import csv
import re
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from cuetune import __version__
from cuetune.support.cache_dir import cache_dir
from cuetune.support.files import atomic_file, atomic_folder
from cuetune.support.ownership import FolderKind
from cuetune_catalog.fetch.archive import Archive, Record, Text
from cuetune_catalog.fetch.cache import Progress

FOLDER = FolderKind("folder of a data set", re.compile(".*"))


class DataSet(Record):
    """Labelled rows that packages hold, written as a CSV file; images, audio and videos lie in a folder beside it.

    title: what the rows are. modality: what a row holds; of all but text, the first column names a file. columns: of
    the CSV file, in order. target: the column that a task on it predicts. rows: how many. labels: rows by label; empty
    where the target is free text. separator: what stands between the labels of a row that may have several. reader: the
    module of `readers` whose `read` gives the rows. packages: what it is read from, by the name of the argument of
    `read`. options: further arguments of `read`.
    """

    name: Text
    title: Text
    modality: Literal["text", "image", "audio", "video"]
    columns: tuple[Text, ...] = Field(min_length=2, strict=False)
    target: Text
    rows: PositiveInt
    licence: Text
    citation: Text
    reader: Text
    packages: dict[str, Archive] = Field(min_length=1)
    options: dict[str, str] = {}
    labels: dict[str, PositiveInt] = {}
    separator: Text | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        """Raises ValueError where the record contradicts itself."""
        if self.target not in self.columns or len(set(self.columns)) < len(self.columns):
            raise ValueError(f"{self.name}: the columns repeat themselves or lack the target {self.target!r}")
        counted = sum(self.labels.values())
        if self.labels and self.separator is None and counted != self.rows:
            raise ValueError(f"{self.name}: {self.rows} rows, but its labels have {counted}")
        return self

    @property
    def task(self) -> str:
        """What is predicted, for a table: "ham 4,108, spam 1,807", or "write french"."""
        return ", ".join(f"{label} {count:,}" for label, count in self.labels.items()) or f"write {self.target}"

    def source(self) -> Path:
        """The CSV file in the cache, written when it is not there yet. Raises CuetuneError as `write`."""
        path = cache_dir() / "data" / __version__ / f"{self.name}.csv"
        if not path.is_file():
            self.write(path, keep=True)
        return path

    def write(self, path: Path, progress: Progress | None = None, *, keep: bool = False) -> None:
        """Fetch, read and write the files, then the CSV file, each whole or not at all; with keep never over another.

        Raises CuetuneError as `Archive.fetch`, and where a library that makes the files is not installed.
        """
        archives = {argument: archive.fetch(progress) for argument, archive in self.packages.items()}
        rows = self.read(**archives, **self.options)
        if self.modality == "text":
            self._write_table(path, rows, keep)
            return
        folder = path.with_suffix("")
        with atomic_folder(folder, overwrite=folder.exists(), check=FOLDER.check) as new:
            FOLDER.mark(new)
            table = [(f"{folder.name}/{name}", *cells) for name, cells in _with_files(rows, new)]
        self._write_table(path, table, keep)

    @property
    def read(self) -> Callable[..., Iterable[Any]]:
        """The reader: cells of each row; of images, audio and videos (content, name of the file, other cells)."""
        reader: Callable[..., Iterable[Any]] = import_module(f"cuetune_catalog.datasets.readers.{self.reader}").read
        return reader

    def _write_table(self, path: Path, rows: Iterable[tuple[str, ...]], keep: bool) -> None:
        with atomic_file(path, keep=keep, newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(self.columns)
            writer.writerows(rows)


def _with_files(
    rows: Iterable[tuple[bytes, str, tuple[str, ...]]], folder: Path
) -> Iterator[tuple[str, tuple[str, ...]]]:
    """(name, other cells) of each row, with its file written to `folder`."""
    for content, name, cells in rows:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        yield name, cells
