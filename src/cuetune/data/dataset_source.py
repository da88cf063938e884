"""Folders and names that Hugging Face `datasets` reads, with their configurations and splits."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cuetune.data.formats.layout import Layout
from cuetune.data.formats.registry import READERS, read_file
from cuetune.data.formats.text_file import suffix_of
from cuetune.data.labels.class_names import named_columns, with_names
from cuetune.data.row import Row
from cuetune.data.split_names import split_of
from cuetune.errors import CuetuneError
from cuetune.support.plugins import DATASETS, advice

SAVED = ("dataset_dict.json", "state.json")  # what `save_to_disk` leaves in a folder


def located(name: str) -> tuple[str, list[str]]:
    """A path or name, and what stands behind "@" in it: a configuration, a split, a sheet, a file of an archive.

    An "@" in the name of a file or folder that is there is part of that name.
    """
    parts = name.split("@")
    for taken in range(len(parts), 0, -1):
        base = "@".join(parts[:taken])
        if Path(base).exists():
            return base, parts[taken:]
    return parts[0], parts[1:]


@dataclass(frozen=True)
class DatasetSource:
    """A folder or name with its configuration chosen. splits: by name, what `rows_of` reads of each."""

    name: str
    parts: Mapping[str, Any]
    features: Any = None

    @classmethod
    def of(cls, name: str, config: str | None = None) -> "DatasetSource":
        """Raises CuetuneError for what `datasets` cannot read, and for several configurations where none is named."""
        import datasets

        if any((Path(name) / each).is_file() for each in SAVED):
            return cls._saved(name)
        try:
            builder = datasets.load_dataset_builder(name, config)
            return cls(name, _files(builder) or _streams(name, config), builder.info.features)
        except Exception as error:  # every loader of `datasets` raises its own
            if config is None and (known := _configurations(name)):
                raise CuetuneError(
                    f"{name}: has the configurations {', '.join(known)}; name one of them: {name}@{known[0]}."
                ) from error
            reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
            raise CuetuneError(
                f"{name}: neither a file nor data that `datasets` can read ({reason}). {advice(DATASETS)}"
            ) from error

    @classmethod
    def _saved(cls, name: str) -> "DatasetSource":
        import datasets

        try:
            found = datasets.load_from_disk(name)
        except Exception as error:
            reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
            raise CuetuneError(f"{name}: a saved data set that cannot be read ({reason}).") from error
        return cls(name, dict(found) if isinstance(found, Mapping) else {"train": found})

    def rows(self, split: str | None, encoding: str) -> Iterator[Row]:
        """Rows of a split, of `train` where none is named."""
        part = chosen_part(self.parts, split, self.name)
        if isinstance(part, list):
            return self._rows_of_files(part, encoding)
        return read_dicts(part, self.name)

    def _rows_of_files(self, files: list[tuple[Path, Layout]], encoding: str) -> Iterator[Row]:
        named = named_columns(self.features)
        for path, layout in files:
            for row in read_file(path, encoding, layout):
                yield replace(row, values=with_names(row.values, named)) if named else row


def open_dataset(name: str, behind: list[str]) -> tuple[DatasetSource, str | None]:
    """A source by name with what stands behind "@": the source and the split that is named, if any.

    behind: [split], [configuration] or [configuration, split].
    """
    if len(behind) > 2:
        raise CuetuneError(f"{'@'.join([name, *behind])}: expected NAME@CONFIGURATION@SPLIT at most.")
    if len(behind) == 2:
        return DatasetSource.of(name, behind[0]), behind[1]
    if behind and behind[0] in _configurations(name):
        return DatasetSource.of(name, behind[0]), None
    return DatasetSource.of(name), behind[0] if behind else None


def chosen_part(parts: Mapping[str, Any], split: str | None, name: str = "") -> Any:
    """The part of this name, or the training part. Raises CuetuneError where neither is there."""
    begun = f"{name}: " if name else ""
    if split is None:
        train = [each for each in parts if split_of(each) == "train"] or list(parts)
        if len(train) != 1 and split_of(train[0]) != "train":
            raise CuetuneError(f"{begun}has the splits {', '.join(parts)}; name one of them with NAME@SPLIT.")
        split = train[0]
    if split not in parts:
        raise CuetuneError(f"{begun}no split {split!r}; choose one of {', '.join(map(repr, parts))}.")
    return parts[split]


def _configurations(name: str) -> list[str]:
    """The configurations of a source that has several."""
    import datasets

    if any((Path(name) / each).is_file() for each in SAVED):
        return []
    try:
        found = datasets.get_dataset_config_names(name)
    except Exception:  # loading it says what is wrong
        return []
    return list(found) if len(found) > 1 else []


def _files(builder: Any) -> dict[str, list[tuple[Path, Layout]]]:
    """Split -> its files, where they lie here and are read as they are when they are named alone; else nothing."""
    config, files = builder.config, builder.config.data_files or {}
    if getattr(config, "field", None) or getattr(config, "names", None) or getattr(config, "skiprows", None):
        return {}
    paths = [Path(each) for part in files.values() for each in part]
    if not all(suffix_of(path) in READERS and path.is_file() for path in paths):
        return {}
    delimiter = getattr(config, "sep", ",")
    layout = Layout(None if delimiter == "," else delimiter)
    return {str(split): [(Path(each), layout) for each in part] for split, part in files.items()}


def _streams(name: str, config: str | None) -> dict[str, Any]:
    """Split -> its rows, streamed; code that a data set brings is never run."""
    import datasets

    return dict(datasets.load_dataset(name, config, streaming=True))


def read_dicts(rows: Iterable[Any], what: str) -> Iterator[Row]:
    """Rows of mappings, with names for numbers of classes. Raises CuetuneError for a row that is no mapping."""
    named = named_columns(getattr(rows, "features", None))
    for number, values in enumerate(rows):
        if isinstance(values, Row):
            yield values
        elif isinstance(values, Mapping):
            yield Row(f"{what}[{number}]", with_names(values, named) if named else values)
        else:
            raise CuetuneError(f"{what}[{number}]: a {type(values).__name__}; expected a dictionary of column names.")
