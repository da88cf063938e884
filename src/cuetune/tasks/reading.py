"""Users' data of every kind as a stream of rows: one row in memory at a time, and every fault says where it is."""

import difflib
import os
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from cuetune.errors import CuetuneError
from cuetune.tasks.datasets import DATASETS, cached
from cuetune.tasks.formats import READERS, suffix_of
from cuetune.tasks.task import Row


def read_rows(source: Any, *, split: str | None = None, encoding: str = "utf-8") -> Iterator[Row]:
    """Rows of a source, in order; memory does not grow with their number.

    source: a CSV, TSV, JSONL, JSON or Parquet file (also .gz of the text formats), the name of a data set of `cuetune
    data`, a folder or a name that `datasets` reads ("name@split" names the split), a pandas DataFrame, a `datasets`
    object, or an iterable of dictionaries.
    encoding: of text files. Raises CuetuneError naming file and row for anything that cannot be read.
    """
    if isinstance(source, str | Path):
        return _read_named(str(source), split, encoding)
    if hasattr(source, "to_dict") and hasattr(source, "columns") and hasattr(source, "itertuples"):
        return _read_frame(source)
    if isinstance(source, Mapping) and all(hasattr(part, "__iter__") for part in source.values()):
        return _read_dicts(_split_of(source, split), "rows")
    if isinstance(source, Iterable):
        return _read_dicts(source, "rows")
    raise CuetuneError(f"cannot read rows from a {type(source).__name__}; give a file, a DataFrame or a list of dicts.")


def first_rows(source: Any, encoding: str = "utf-8") -> list[Row]:
    """The first row of a source that can be read again; none of an empty one. Raises CuetuneError as `read_rows`."""
    return list(islice(read_rows(source, encoding=encoding), 1))


def _read_named(name: str, split: str | None, encoding: str) -> Iterator[Row]:
    path = Path(name)
    if name in DATASETS and not path.exists():
        path = cached(name)
    if path.is_file():
        reader = READERS.get(suffix_of(path))
        if reader is None:
            raise CuetuneError(f"{path}: unknown ending {path.suffix!r}; supported: {', '.join(READERS)}.")
        return _not_empty(reader(path, encoding), path)
    looks_like_file = suffix_of(path) in READERS or path.is_absolute()
    if not path.is_dir() and looks_like_file:
        raise CuetuneError(f"{path}: no such file.{_close_names(path)}")
    return _read_datasets(name, split)


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
    names = [str(name) for name in frame.columns]
    for number, values in enumerate(frame.itertuples(index=False, name=None)):
        yield Row(f"row {number} of the DataFrame", dict(zip(names, values, strict=True)))


def _read_dicts(rows: Iterable[Any], what: str) -> Iterator[Row]:
    names = _class_names(rows)
    for number, values in enumerate(rows):
        if isinstance(values, Row):
            yield values
        elif isinstance(values, Mapping):
            named = {
                column: known[values[column]] for column, known in names.items() if isinstance(values[column], int)
            }
            yield Row(f"{what}[{number}]", {**values, **named})
        else:
            raise CuetuneError(f"{what}[{number}]: a {type(values).__name__}; expected a dictionary of column names.")


def _class_names(rows: Any) -> dict[str, list[str]]:
    """The columns in which a data set of `datasets` keeps numbers for class names, and those names."""
    features = getattr(rows, "features", None) or {}
    return {column: kind.names for column, kind in features.items() if getattr(kind, "names", None)}


def _split_of(parts: Mapping[str, Any], split: str | None) -> Iterable[Any]:
    if split is None:
        split = "train" if "train" in parts else next(iter(parts), "")
    if split not in parts:
        raise CuetuneError(f"no split {split!r}; choose one of {', '.join(map(repr, parts))}.")
    return parts[split]


def _read_datasets(name: str, split: str | None) -> Iterator[Row]:
    """A folder or a name that Hugging Face `datasets` reads, streamed; code that a data set brings is never run."""
    import datasets

    name, _, named_split = name.partition("@")
    datasets.utils.logging.set_verbosity_error()
    datasets.disable_progress_bars()
    try:
        parts = datasets.load_dataset(name, streaming=True)
    except Exception as error:  # every loader of `datasets` raises its own
        reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise CuetuneError(f"{name}: neither a file nor data that `datasets` can read ({reason}).") from error
    return _read_dicts(_split_of(parts, split or named_split or None), name)
