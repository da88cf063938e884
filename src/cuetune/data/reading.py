"""Users' data of every kind as a stream of rows: one row in memory at a time, and every fault says where it is."""

import difflib
import os
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from cuetune.data.chat import unrolled
from cuetune.data.dataset_source import chosen_part, located, open_dataset, read_dicts
from cuetune.data.formats.archive import splits_in
from cuetune.data.formats.column_names import column_names
from cuetune.data.formats.registry import ALONE, ARCHIVE, is_file_name, read_file
from cuetune.data.formats.text_file import suffix_of
from cuetune.data.installed_data import installed
from cuetune.data.row import Row
from cuetune.data.sources import Source, source_of
from cuetune.errors import CuetuneError


def read_rows(source: Any, *, split: str | None = None, encoding: str = "utf-8") -> Iterator[Row]:
    """Rows of a source, in order; memory does not grow with their number.

    source: a CSV, TSV, JSONL, JSON, Parquet, Arrow, Excel or text file (also .gz, .bz2, .xz, .zst of the text formats,
    or one in a .zip), the name of a data set of an installed package (`cuetune data`), a folder or a name that
    `datasets` reads ("name@split", "name@configuration@split"), any of these as a `Source` that says more of it, a
    pandas DataFrame, a `datasets` object, or an iterable of dictionaries.
    Rows of conversations get columns of text and answer (`chat`).
    encoding: of text files. Raises CuetuneError naming file and row for anything that cannot be read.
    """
    return map(unrolled, _rows(installed(source), split, encoding))


def _rows(source: Any, split: str | None, encoding: str) -> Iterator[Row]:
    if isinstance(source, str | Path):
        return _read_named(source_of(source), split, encoding)
    if hasattr(source, "to_dict") and hasattr(source, "columns") and hasattr(source, "itertuples"):
        return _read_frame(source)
    if isinstance(source, Mapping) and all(hasattr(part, "__iter__") for part in source.values()):
        return read_dicts(chosen_part(source, split), "rows")
    if isinstance(source, Iterable):
        return read_dicts(source, "rows")
    raise CuetuneError(f"cannot read rows from a {type(source).__name__}; give a file, a DataFrame or a list of dicts.")


def splits_of(source: Any) -> dict[str, Any]:
    """The splits that a source brings along, by name, each a source itself; empty for one that has none or is one.

    Raises CuetuneError as `read_rows`.
    """
    source = installed(source)
    if isinstance(source, Mapping):
        return dict(source) if all(hasattr(part, "__iter__") for part in source.values()) else {}
    if not isinstance(source, str | Path):
        return {}
    base, behind = located(str(source))
    path = Path(base)
    if suffix_of(path) == ARCHIVE and path.is_file():
        return {} if behind else {split: f"{base}@{split}" for split in splits_in(path, [*ALONE])}
    if path.is_file() or (not path.is_dir() and is_file_name(base)):
        return {}
    opened, split = open_dataset(base, behind)
    return {} if split else {name: "@".join([base, *behind, name]) for name in opened.parts}


def first_rows(source: Any, encoding: str = "utf-8") -> list[Row]:
    """The first row of a source that can be read again; none of an empty one. Raises CuetuneError as `read_rows`."""
    return list(islice(read_rows(source, encoding=encoding), 1))


def source_name(source: Any) -> str:
    """What a source is called: a file's or folder's own name without the way to it, else its type."""
    return Path(source).name if isinstance(source, str | Path) else type(source).__name__


def _read_named(source: Source, split: str | None, encoding: str) -> Iterator[Row]:
    base, behind = located(str(source))
    path = Path(base)
    if path.is_file():
        return _not_empty(read_file(path, encoding, source.layout, "@".join(behind) or split), path)
    if not path.is_dir() and is_file_name(base):
        raise CuetuneError(f"{path}: no such file.{_close_names(path)}")
    opened, named = open_dataset(base, behind)
    return opened.rows(split or named, encoding)


def _not_empty(rows: Iterator[Row], path: Path) -> Iterator[Row]:
    try:
        first = next(rows, None)
        if first is None:
            raise CuetuneError(f"{path}: no rows; expected a header and at least one row.")
        yield first
        yield from rows
    except PermissionError as error:
        raise CuetuneError(f"{path}: no permission to read it; change its permissions or copy it.") from error


def _close_names(path: Path) -> str:
    folder = path.parent
    if not folder.is_dir():
        return f" The folder {folder} does not exist either."
    close = difflib.get_close_matches(path.name, os.listdir(folder), n=1, cutoff=0.5)
    return f" Did you mean {folder / close[0]}?" if close else " Check the name and the folder."


def _read_frame(frame: Any) -> Iterator[Row]:
    names = column_names([str(name) for name in frame.columns])
    for number, values in enumerate(frame.itertuples(index=False, name=None)):
        yield Row(f"row {number} of the DataFrame", dict(zip(names, values, strict=True)))
