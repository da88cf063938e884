"""What a folder of images, audio or video holds: splits, folders of classes, metadata and tables.

Folders are read as `datasets` reads them (imagefolder, audiofolder, videofolder, and what the hub keeps), with two more
kindnesses: labels are the folders' names at any depth, and what was left out is counted.
"""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cuetune.data.formats.registry import READERS, suffix_of
from cuetune.data.media.undecoded import undecoded
from cuetune.data.reading import read_rows
from cuetune.data.row import Row
from cuetune.data.sources import Source
from cuetune.errors import CuetuneError

if TYPE_CHECKING:
    from cuetune.data.media.rows import Media

# The splits of `datasets`, with the names that folders and files of each have.
SPLITS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing", "eval", "evaluation"),
}
SPLIT_OF = {name: split for split, names in SPLITS.items() for name in names}
BETWEEN = re.compile(r"[-._ 0-9]+")  # what parts the words of a file's name
METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
SAVED = ("dataset_dict.json", "state.json")  # what `save_to_disk` writes
JUNK = ("__macosx", "thumbs.db", "desktop.ini")  # what systems leave behind
OTHERS = ("dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json", "config.json")


class MediaFolder:
    """One folder, walked once. `parts` gives its rows by split; `source.notes` is told what was taken for what.

    labelled: rows are to have labels; else any folder of files will do.
    Raises CuetuneError for a folder that holds no rows, or of which it cannot be told what they are.
    """

    def __init__(self, media: "Media", source: Source, encoding: str = "utf-8", labelled: bool = True) -> None:
        self.media, self.source, self.encoding, self.labelled = media, source, encoding, labelled
        self.folder = Path(source)
        self.files: list[Path] = []  # from the folder, in order
        self.metadata: list[Path] = []
        self.tables: list[Path] = []
        self.visited: list[Path] = []  # folders
        self.left_out: Counter[str] = Counter()
        self.ignored: Counter[str] = Counter()
        self._walk()

    def _walk(self) -> None:
        seen: set[str] = set()
        for place, folders, names in os.walk(self.folder, followlinks=True, onerror=_refused):
            here = Path(place).relative_to(self.folder)
            junk = [each for each in folders if each.startswith(".") or each.lower() in JUNK]
            self.ignored.update("__MACOSX" if each.lower() == "__macosx" else "hidden" for each in junk)
            real = os.path.realpath(place)
            folders[:] = [] if real in seen else sorted(set(folders) - set(junk))  # a link may lead back up
            for name in () if real in seen else names:
                self._sort_in(here / name)
            seen.add(real)
            self.visited.append(here)
        for found in (self.files, self.metadata, self.tables, self.visited):
            found.sort(key=lambda path: path.parts)

    def _empty(self) -> list[str]:
        """Folders below which there is nothing to read, the topmost of each."""
        full = {parent for path in (*self.files, *self.metadata, *self.tables) for parent in path.parents}
        return [str(each) for each in self.visited if each not in full and (each.parent in full or not full)]

    def _sort_in(self, path: Path) -> None:
        name = path.name.lower()
        if name.startswith(".") or name in JUNK:
            self.ignored["hidden"] += 1
        elif name in METADATA:
            self.metadata.append(path)
        elif suffix_of(path) in READERS and name not in OTHERS:
            self.tables.append(path)
        elif self.media.is_one(self.folder / path):
            self.files.append(path)
        elif name not in OTHERS:
            self.left_out[path.suffix.lower() or "no ending"] += 1

    def parts(self) -> dict[str, Iterator[Row]]:
        """Split -> its rows, in order; under "" alone where the folder is not split."""
        if any((self.folder / name).is_file() for name in SAVED):
            parts = self._saved()
        elif self.metadata:
            parts = self._by_split(self.metadata, self._described)
        elif tables := self.tables_of_rows():
            parts = self._by_split(tables, self._table)
        else:
            parts = self._files()
        self._say(parts)
        return parts

    # Files

    def _files(self) -> dict[str, Iterator[Row]]:
        """Rows of the files themselves, with the names of their folders as labels."""
        if not self.files and not self.labelled:
            raise CuetuneError(f"{self.folder}: no {self.media.noun} in it ({', '.join(self.media.endings[:5])}, …).")
        top = self._top()
        below = sorted({path.relative_to(top).parts[0] for path in self.files if len(path.relative_to(top).parts) > 1})
        splits = self._splits(below) if self.source.splits else {}
        if not self.labelled:
            return {"": iter([Row(str(path), {self.media.field: str(self.folder / path)}) for path in self.files])}
        if not splits:
            return {"": iter(self._classes(top, self.files))}
        parts: dict[str, list[Row]] = defaultdict(list)
        for name, split in sorted(splits.items(), key=lambda item: list(SPLITS).index(item[1])):
            inside = [path for path in self.files if path.is_relative_to(top / name)]
            parts[split] += self._classes(top / name, inside)
        if aside := sorted(set(below) - set(splits)):
            self._note(f"folders beside the splits, which are left out: {_listed(aside)}")
        if beside := [path for path in self.files if len(path.relative_to(top).parts) == 1]:
            self._note(f"{len(beside)} {self.media.noun}s beside the splits are left out: {_listed(map(str, beside))}")
        return {split: iter(parts[split]) for split in SPLITS if split in parts}

    def _top(self) -> Path:
        """The folder of the classes or splits: below folders that hold one other folder alone, which holds several."""
        top = Path()
        while self.files:
            inside = [path.relative_to(top) for path in self.files]
            names = {path.parts[0] for path in inside}
            deeper = {path.parts[1] for path in inside if len(path.parts) > 2}
            name = next(iter(names))
            several = len(deeper) > 1 or bool(self._splits(sorted(deeper)))
            if (
                len(names) > 1
                or not several
                or name.lower() in SPLIT_OF
                or any(len(path.parts) == 2 for path in inside)
            ):
                return top
            top /= name
            self._note(f"classes are the folders of {top}")
        return top

    def _splits(self, names: list[str]) -> dict[str, str]:
        """Folder -> split, where folders are splits: all of them are named so, or train and one that goes with it."""
        found = {name: SPLIT_OF[name.lower()] for name in names if name.lower() in SPLIT_OF}
        whole = "train" in found.values() and len(set(found.values())) > 1
        return found if whole or (found and len(found) == len(names)) else {}

    def _classes(self, top: Path, files: list[Path]) -> list[Row]:
        """A row for each file below `top`, labelled by the folder there that it lies in."""
        here = self.folder / top
        loose = [path for path in files if path.parent == top]
        if loose and len(loose) < len(files):
            raise CuetuneError(
                f"{here}: {loose[0].name} lies beside the folders of the classes; move it into the folder of its class."
            )
        if loose or not files:
            like = here / "cat" / ("1" + self.media.endings[0])
            split = " --no-splits takes the folders' names for labels." if top.name.lower() in SPLIT_OF else ""
            raise CuetuneError(
                f"{here}: {len(loose)} {self.media.noun}s, but no folders; expected a folder of {self.media.noun}s for "
                f"each class, like {like}, or give a table with a column of paths.{split}"
            )
        deep = [path for path in files if len(path.relative_to(top).parts) > 2]
        if deep:
            self._note(
                f"{len(deep):,} {self.media.noun}s lie deeper than their class, as {deep[0]}: their label is "
                f"{deep[0].relative_to(top).parts[0]!r}, the folder's name below {here.name}"
            )
        return [
            Row(str(path), {self.media.field: str(self.folder / path), "label": path.relative_to(top).parts[0]})
            for path in files
        ]

    # Tables

    def tables_of_rows(self) -> list[Path]:
        """The tables that hold the folder's rows: those at the top or in `data`, or all where there are no files.

        Whether they do is seen in their first row, so that a list of class names is none.
        """
        near = [path for path in self.tables if len(path.parts) == 1] or [
            path for path in self.tables if path.parts[0].lower() in ("data", *SPLIT_OF) and len(path.parts) == 2
        ]
        found = [path for path in near or ([] if self.files else self.tables) if self._holds_rows(path)]
        self.left_out.update(suffix_of(path) for path in self.tables if path not in found)
        return found

    def first_rows(self, tables: list[Path]) -> Iterator[Row]:
        """The first row of each table."""
        for path in tables:
            yield from islice(self._table(path), 1)

    def _holds_rows(self, path: Path) -> bool:
        first = next(self._table(path), None)
        return first is not None and self.media.has_column(first)

    def _by_split(self, tables: list[Path], read: Any) -> dict[str, Iterator[Row]]:
        """Split -> the rows of its tables. Raises CuetuneError for several tables that no split tells apart."""
        if not self.source.splits:
            return {"": self._rows(tables, read)}
        split = {path: self._split_of(path) for path in tables}
        if read == self._described and len(tables) == 1 and None in split.values():
            return self._rows_by_path(read(tables[0]))
        unnamed = [path for path, name in split.items() if name is None]
        shards = len({BETWEEN.sub("", path.stem) for path in unnamed}) == 1
        if unnamed and len(unnamed) < len(tables):
            self._note(f"tables of no split, which are left out: {_listed(map(str, unnamed))}")
        elif len(unnamed) > 1 and not shards and read != self._described:
            raise CuetuneError(
                f"{self.folder}: {len(unnamed)} tables, of which none is said to be the rows to learn from "
                f"({_listed(map(str, unnamed))}); give one of them."
            )
        parts = {
            name: self._rows([path for path in tables if split[path] == name], read)
            for name in SPLITS
            if name in split.values()
        }
        return parts or {"": self._rows(unnamed, read)}

    def _rows(self, tables: list[Path], read: Any) -> Iterator[Row]:
        for path in tables:
            yield from read(path)

    def _rows_by_path(self, rows: Iterator[Row]) -> dict[str, Iterator[Row]]:
        """Rows of one metadata file at the top, by the folders named like splits that their files lie in."""
        parts: dict[str, list[Row]] = defaultdict(list)
        for row in rows:
            place = Path(str(row.values.get(self.media.field, "")))
            inside = place.relative_to(self.folder).parts[:1] if place.is_relative_to(self.folder) else ()
            parts[SPLIT_OF.get(str(next(iter(inside), "")).lower(), "")].append(row)
        if "train" in parts and "" not in parts:
            return {split: iter(parts[split]) for split in SPLITS if split in parts}
        return {"": iter([row for split in ("", *SPLITS) for row in parts.get(split, [])])}

    def _split_of(self, path: Path) -> str | None:
        """The split that a table's folders or its name say, as "train/metadata.csv" and "train-00000-of-00001"."""
        for name in path.parts[:-1]:
            if name.lower() in SPLIT_OF:
                return SPLIT_OF[name.lower()]
        words = BETWEEN.split(path.name.lower().removesuffix(".gz").removesuffix(suffix_of(path)))
        return next((SPLIT_OF[word] for word in words if word in SPLIT_OF), None)

    def _table(self, path: Path) -> Iterator[Row]:
        """A table's rows with paths from its folder."""
        place = self.folder / path
        for row in READERS[suffix_of(path)](place, self.encoding, self.source.layout):
            yield self.media.placed(self._where(row, path), place.parent, self.source)

    def _described(self, path: Path) -> Iterator[Row]:
        """A metadata file's rows: `file_name` becomes the column of content, `x_file_name` the column x."""
        for row in self._table(path):
            if not any(name == "file_name" or name.endswith("_file_name") for name in row.values):
                found = ", ".join(map(repr, row.values))
                raise CuetuneError(
                    f"{self.folder / path}: no column 'file_name' (found: {found}); name the files in it."
                )
            named = {name: self._renamed(name) for name in row.values}
            folder = (self.folder / path).parent
            values = {
                named[name]: self.media.located(value, folder, self.source) if named[name] != name else value
                for name, value in row.values.items()
            }
            yield replace(row, values=values)

    def _renamed(self, column: str) -> str:
        return (column[: -len("_file_name")] or self.media.field) if _names_files(column) else column

    def _where(self, row: Row, path: Path) -> Row:
        """Two splits may have files of one name, so a row's place names its folder too."""
        return row if path.parent == Path() else replace(row, where=f"{path.parent}/{row.where}")

    def _saved(self) -> dict[str, Iterator[Row]]:
        """What `datasets` saved with `save_to_disk`."""
        import datasets

        try:
            held = datasets.load_from_disk(str(self.folder))
        except Exception as error:  # every format of `datasets` raises its own
            reason = (str(error).strip() or type(error).__name__).splitlines()[0][:160]
            raise CuetuneError(f"{self.folder}: a saved data set that cannot be read ({reason}).") from error
        parts = held if isinstance(held, dict) else {"": held}

        def rows(name: str, part: Any) -> Iterator[Row]:
            for row in read_rows(undecoded(part)):
                yield replace(row, where=f"{name or self.folder.name}, {row.where}")

        return {SPLIT_OF.get(name, name): rows(name, part) for name, part in parts.items()}

    # What is said

    def _note(self, line: str) -> None:
        self.source.notes.append(line)

    def _say(self, parts: dict[str, Any]) -> None:
        if set(parts) - {""}:
            self._note(f"{self.folder.name}: splits {', '.join(parts)} (--no-splits takes such folders for labels)")
        if self.left_out:
            endings = ", ".join(f"{ending} {count:,}" for ending, count in _most(self.left_out))
            self._note(f"left out, no {self.media.noun}s: {endings}")
        found = [f"{each} {count:,}" for each, count in sorted(self.ignored.items())]
        if empty := self._empty():
            found.append(f"folders without {self.media.noun}s {len(empty):,} ({_listed(empty)})")
        if found:
            self._note(f"ignored: {', '.join(found)}")


def _refused(error: OSError) -> None:
    """os.walk would pass over a folder that it may not read."""
    raise CuetuneError(f"{error.filename}: cannot be read ({error.strerror}); change its permissions.") from error


def _most(counts: Counter[str]) -> list[tuple[str, int]]:
    """The commonest first, the others by name."""
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def _names_files(column: str) -> bool:
    return column == "file_name" or column.endswith("_file_name")


def _listed(names: Any) -> str:
    names = list(names)
    return ", ".join(names[:5]) + (f", … ({len(names)} in all)" if len(names) > 5 else "")
