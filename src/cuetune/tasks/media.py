"""Rows whose content lies in files of its own, as pictures do: a folder for each class, or a table with paths."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cuetune.errors import CuetuneError
from cuetune.tasks.datasets import DATASETS, cached
from cuetune.tasks.formats import READERS, suffix_of
from cuetune.tasks.inference import TEXT_NAMES, infer_task
from cuetune.tasks.reading import read_rows
from cuetune.tasks.task import Row, Task


@dataclass(frozen=True)
class Media:
    """One kind of such content.

    field: the template field that stands for it alone, and the column of class folders. noun: what one is called, for
    people. endings: of its files. columns: names that a column of it usually has. begins: how its files' bytes begin.
    module: where the class of a decoded one comes from, e.g. "PIL.".
    """

    field: str
    noun: str
    endings: tuple[str, ...]
    columns: tuple[str, ...]
    begins: re.Pattern[bytes]
    module: str

    def read(
        self, source: Any, *, split: str | None = None, encoding: str = "utf-8", labelled: bool = True
    ) -> Iterator[Row]:
        """Rows in order, each with its content as a path, as bytes or as an object, not yet decoded.

        source: a folder with a folder of files for each class (columns `field` and "label"; labelled=False takes any
        folder of files), the name of a data set of `cuetune data`, or whatever `read_rows` reads; paths in a table are
        taken from the table's folder where they are there, else as they are.
        Raises CuetuneError naming file and row for anything that cannot be read.
        """
        path = Path(source) if isinstance(source, str | Path) else None
        if path is not None and str(path) in DATASETS and not path.exists():
            source = path = cached(str(path))
        if path is not None and path.is_dir() and not _has_table(path):
            return self.class_folders(path) if labelled else self.loose_files(path)
        rows = read_rows(_undecoded(source), split=split, encoding=encoding)
        if path is None or not path.is_file():
            return rows
        return (self._with_paths(row, path.parent) for row in rows)

    def class_folders(self, folder: Path) -> Iterator[Row]:
        """Rows of `folder/<label>/**/<file>`, by label and name. Hidden files and other files are passed over.

        Raises CuetuneError for a folder without classes, a class without files, or files beside the classes.
        """
        classes = sorted(each for each in folder.iterdir() if each.is_dir() and not each.name.startswith("."))
        loose = [each.name for each in folder.iterdir() if self._is_one(each)]
        if loose and classes:
            raise CuetuneError(
                f"{folder}: {loose[0]} lies beside the folders of the classes; move it into the folder of its class."
            )
        if not classes:
            raise CuetuneError(
                f"{folder}: {len(loose)} {self.noun}s, but no folders; expected a folder of {self.noun}s for each "
                f"class, like {folder / 'cat' / ('1' + self.endings[0])}, or give a table with a column of paths."
            )
        for each in classes:
            files = sorted(path for path in each.rglob("*") if self._is_one(path))
            if not files:
                endings = ", ".join(self.endings[:5])
                raise CuetuneError(f"{each}: no {self.noun} of this class ({endings}, …); remove the folder.")
            for path in files:
                yield Row(str(path.relative_to(folder)), {self.field: str(path), "label": each.name})

    def loose_files(self, folder: Path) -> Iterator[Row]:
        """Rows of all files below a folder, by name, without labels. Raises CuetuneError where there are none."""
        files = sorted(path for path in folder.rglob("*") if self._is_one(path))
        if not files:
            raise CuetuneError(f"{folder}: no {self.noun} in it ({', '.join(self.endings[:5])}, …).")
        for path in files:
            yield Row(str(path.relative_to(folder)), {self.field: str(path)})

    def in_folder(self, folder: Path) -> bool:
        """Whether a folder without a table holds files of this kind, in it or in its folders."""
        return folder.is_dir() and not _has_table(folder) and any(map(self._is_one, folder.rglob("*")))

    def means(self, value: Any) -> bool:
        """Whether a cell holds one: its path, its bytes, or the object that it becomes when decoded."""
        if isinstance(value, dict):  # as `datasets` keeps it
            path, content = value.get("path"), value.get("bytes")
            return self.means(path) if path else self.means(content)
        if isinstance(value, bytes | bytearray):
            return self.begins.match(value) is not None
        if isinstance(value, str | Path):
            return str(value).lower().endswith(self.endings)
        return type(value).__module__.startswith(self.module)

    def holds(self, rows: Sequence[Row]) -> bool:
        """Whether rows are about it: a cell of the first one holds one, and none has the name of a column of texts."""
        cells = rows[0].values.items() if rows else ()
        texts = [name for name, value in cells if name.lower() in TEXT_NAMES and not self.means(value)]
        return not texts and any(self.means(value) for _, value in cells)

    def column(self, row: Row) -> str:
        """The column that holds it, by what is in it or else by its name. Raises CuetuneError if none does."""
        for name, value in row.values.items():
            if self.means(value):
                return name
        lowered = {name.lower(): name for name in row.values}
        for name in self.columns:
            if name in lowered:
                return lowered[name]
        raise CuetuneError(
            f"{row.where}: no column of {self.noun}s (found: {', '.join(map(repr, row.values))}); expected paths that "
            f"end in {', '.join(self.endings[:4])}, …"
        )

    def infer(
        self,
        rows: Sequence[Row],
        *,
        column: str | None = None,
        label: str | None = None,
        labels: Sequence[str] | None = None,
        name: str = "task",
    ) -> Task:
        """A task from labelled rows, with the lone field as template; what is given is taken, the rest inferred.

        Raises CuetuneError if ambiguous, and for a row that holds something else where the others hold one.
        """
        if not rows:
            raise CuetuneError("no rows to learn the task from.")
        column = column or self.column(rows[0])
        for row in rows:
            value = row.values.get(column)
            if value is not None and not self._may_be(value):
                raise CuetuneError(
                    f"{row.where}, column {column!r}: {str(value)[:40]!r} is no path of a {self.noun}, as other rows "
                    f"have; expected {', '.join(self.endings[:4])}, …, and texts in a file of their own."
                )
        template = f"{{{self.field}}}"
        return infer_task(rows, text=column, label=label, labels=labels, template=template, instruction="", name=name)

    def _may_be(self, value: Any) -> bool:
        """As `means`, but bytes are not looked at: what is broken is told when it is decoded."""
        return (
            isinstance(value, bytes | bytearray)
            or (isinstance(value, dict) and not value.get("path"))
            or (self.means(value))
        )

    def _is_one(self, path: Path) -> bool:
        return path.suffix.lower() in self.endings and not path.name.startswith(".") and path.is_file()

    def _with_paths(self, row: Row, folder: Path) -> Row:
        """The row with paths that are given from the table's folder; whether they exist is seen when they are read."""
        moved = {
            column: str(folder / value)
            for column, value in row.values.items()
            if isinstance(value, str) and value.lower().endswith(self.endings) and _beside(folder, value)
        }
        return replace(row, values={**row.values, **moved}) if moved else row


def _has_table(folder: Path) -> bool:
    return any(suffix_of(each) in READERS for each in folder.iterdir())


def _beside(folder: Path, value: str) -> bool:
    """Whether a relative path means a file in the table's folder: there is one, or none where it points otherwise."""
    path = Path(value)
    return not path.is_absolute() and ((folder / path).is_file() or not path.is_file())


def _undecoded(source: Any) -> Any:
    """A data set of `datasets` that hands out the bytes of pictures and recordings: they are decoded here."""
    features = getattr(source, "features", None) or {}
    for name, kind in features.items():
        if type(kind).__name__ in ("Image", "Audio", "Video"):
            source = source.cast_column(name, type(kind)(decode=False))
    return source
