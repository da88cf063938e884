"""Rows whose content lies in files of its own, as images do: a folder for each class, or a table with paths."""

import mimetypes
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Any
from urllib.parse import urlsplit

from cuetune.data.installed_data import installed
from cuetune.data.media.folders import MediaFolder
from cuetune.data.media.location import ADDRESS, Inline, located
from cuetune.data.media.undecoded import undecoded
from cuetune.data.reading import read_rows
from cuetune.data.row import Row, clear_rows
from cuetune.data.sources import Source, source_of
from cuetune.data.task import Task
from cuetune.data.task_inference import TEXT_NAMES, infer_task
from cuetune.errors import CuetuneError

WRITTEN = re.compile(r"https?://|data:|file:|[A-Za-z0-9+/_\-\s]{64,}={0,2}\s*$", re.IGNORECASE)  # content in a cell
ENDING = re.compile(r"\.\w{1,8}")
PATH = re.compile(r"[^\n]*(/|\\|\.\w{1,5}$)[^\n]*")


@dataclass(frozen=True)
class Media:
    """One kind of such content.

    field: the template field that stands for it alone, and the column of class folders. noun: what one is called, for
    people. endings: of its usual files. decoded: the endings of all files that its decoders open. columns: names that a
    column of it usually has. begins: how its files' bytes begin. module: where the class of a decoded one comes from,
    e.g. "PIL.".
    """

    field: str
    noun: str
    endings: tuple[str, ...]
    columns: tuple[str, ...]
    begins: re.Pattern[bytes]
    module: str
    decoded: Callable[[], frozenset[str]] = frozenset

    def read(
        self, source: Any, *, split: str | None = None, encoding: str = "utf-8", labelled: bool = True
    ) -> Iterator[Row]:
        """Rows in order, each with its content as a path, as bytes or as an object, not yet decoded.

        source: a folder (`MediaFolder`: of classes, of splits, with metadata or tables; labelled=False takes any folder
        of files), the name of a data set of an installed package, or whatever `read_rows` reads, also as a `Source`.
        Raises CuetuneError naming file and row for anything that cannot be read.
        """
        source = installed(source)
        parts = self.parts(source, encoding=encoding, labelled=labelled)
        if parts and split is not None and "" not in parts:
            if split not in parts:
                raise CuetuneError(f"{source}: no split {split!r}; choose one of {', '.join(map(repr, parts))}.")
            return parts[split]
        if parts:
            return (row for rows in parts.values() for row in rows)
        asked, path = source_of(source), self._table_of(source)
        rows = read_rows(undecoded(source), split=split, encoding=encoding)
        return (self.placed(row, path and path.parent, asked) for row in rows)

    def parts(self, source: Any, *, encoding: str = "utf-8", labelled: bool = True) -> dict[str, Iterator[Row]]:
        """Split -> its rows, of a folder; under "" alone where it is not split. Empty for a source of another kind."""
        source = installed(source)
        if not isinstance(source, str | Path) or not Path(source).is_dir():
            return {}
        return MediaFolder(self, source_of(source), encoding, labelled).parts()

    def _table_of(self, source: Any) -> Path | None:
        """The file that a source is, if it is one."""
        if not isinstance(source, str | Path):
            return None
        path = Path(source)
        return path if path.is_file() else None

    def placed(self, row: Row, folder: Path | None, source: Source) -> Row:
        """The row with what its cells name: paths that can be opened, and what is written in a cell as its bytes.

        folder: of the table. Whether a path exists is seen when it is read.
        """
        moved = {
            column: self.located(value, folder, source)
            for column, value in row.values.items()
            if self._may_name(column, value)
        }
        return replace(row, values={**row.values, **moved}) if moved else row

    def located(self, value: Any, folder: Path | None, source: Source) -> Any:
        """A cell's path, content or address; the cell itself where it names none."""
        if isinstance(value, dict) and value.get("bytes") is None:  # as `datasets` keeps it
            return {**value, "path": self.located(value.get("path"), folder, source)}
        if not isinstance(value, str):
            return value
        return located(value, folder, source, self.begins.match, self._ends(value))

    def _may_name(self, column: str, value: Any) -> bool:
        """Whether a cell of text may name or hold content: by its ending, its column's name, or its form."""
        if not isinstance(value, str):
            return isinstance(value, dict) and isinstance(value.get("path"), str)
        named = column.lower() in self.columns or column.lower().endswith("file_name")
        return named or self._ends(value) or WRITTEN.match(value) is not None

    def in_folder(self, folder: Path) -> bool:
        """Whether a folder holds files of this kind, in it or in its folders, or tables of them and of nothing else."""
        if not folder.is_dir():
            return False
        found = MediaFolder(self, Source(folder), labelled=False)
        if found.metadata or (tables := found.tables_of_rows()):
            return any(self.holds([row]) for row in found.first_rows(found.metadata or tables))
        apart = {path.parts[0] for path in found.files if len(path.parts) > 1}
        texts = any(len(path.parts) == 1 for path in found.tables)  # a folder of texts may have a logo in it
        return len(apart) > 1 if texts else bool(found.files)

    def means(self, value: Any) -> bool:
        """Whether a cell holds one: its path or address, its bytes, or the object that it becomes when decoded."""
        if isinstance(value, dict):  # as `datasets` keeps it
            path, content = value.get("path"), value.get("bytes")
            return bool(path and self.means(path)) or bool(content and self.means(content))
        if isinstance(value, bytes | bytearray | memoryview):
            return self.begins.match(bytes(value[:64])) is not None
        if isinstance(value, str | Path):
            return self._text_means(str(value))
        return type(value).__module__.startswith(self.module)

    def _text_means(self, value: str) -> bool:
        if ADDRESS.match(value):
            return self._ends(urlsplit(value).path)
        if value.startswith("data:"):
            return value.startswith(f"data:{self.field}/")
        if self._ends(value):
            return True
        moved = located(value, None, Source(""), self.begins.match)
        return self.means(moved.content) if isinstance(moved, Inline) else self._begins_like_one(Path(str(moved)))

    def _ends(self, name: str) -> bool:
        ending = PurePath(name[-200:]).suffix.lower()
        return ending in self.endings or (ENDING.fullmatch(ending) is not None and ending in self.decoded())

    def _begins_like_one(self, path: Path) -> bool:
        """Whether a file without an ending that is known begins as files of this kind do."""
        try:
            with path.open("rb") as stream:
                return self.begins.match(stream.read(64)) is not None
        except (OSError, ValueError):
            return False

    def is_one(self, path: Path) -> bool:
        """Whether a file is of this kind: by its ending, or where that says nothing by how it begins."""
        return (self._ends(path.name) or (not _is_other(path) and self._begins_like_one(path))) and path.is_file()

    def has_column(self, row: Row) -> bool:
        """Whether one of a row's columns holds content of this kind."""
        try:
            return bool(self.column(row))
        except CuetuneError:
            return False

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
        **asked: Any,
    ) -> Task:
        """A task from labelled rows, with the lone field as template; what is given is taken, the rest inferred.

        asked: of which kind it is, and how rows say so (see `infer_task`).

        Raises CuetuneError if ambiguous, and for a row that holds something else where the others hold one.
        """
        rows = clear_rows(rows)
        if not rows:
            raise CuetuneError("no rows to learn the task from.")
        column = column or self.column(rows[0])
        for row in rows:
            value = row.values.get(column)
            if value is not None and not self._may_be(value):
                raise CuetuneError(
                    f"{row.where}, column {column!r}: {str(value)[:40]!r} is none of the {self.noun} paths that other "
                    f"rows have; expected {', '.join(self.endings[:4])}, …, and texts in a file of their own."
                )
        template = f"{{{self.field}}}"
        return infer_task(
            rows, text=column, label=label, labels=labels, template=template, instruction="", name=name, **asked
        )

    def _may_be(self, value: Any) -> bool:
        """As `means`, but neither bytes nor paths are looked at: what is broken is told when it is decoded."""
        if isinstance(value, str):
            path = PATH.fullmatch(value) is not None and not _is_other(Path(value))
            return path or not value.strip() or WRITTEN.match(value) is not None or self.means(value)
        return (
            isinstance(value, bytes | bytearray | memoryview | Path)
            or (isinstance(value, dict) and not value.get("path"))
            or self.means(value)
        )


def _is_other(path: Path) -> bool:
    """Whether a file's ending says that it is something else."""
    kind, _ = mimetypes.guess_type(path.name)
    return kind is not None and kind.split("/")[0] in ("text", "audio", "video", "image")
