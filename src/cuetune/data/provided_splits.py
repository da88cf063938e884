"""The splits that a data set brings along: which of them is for what, and what to say of it."""

from collections.abc import Mapping
from typing import Any

from cuetune.data.reading import source_name, splits_of
from cuetune.data.sources import Source
from cuetune.data.split_names import NAMES, split_of


def own_splits(source: Any) -> dict[str, Any]:
    """What a split is for ("train", "validation", "test") -> its source, where a source has several; else empty.

    A `Source` notes which they are, and keeps its splits to itself where it is told to. Raises CuetuneError as
    `read_rows`.
    """
    if isinstance(source, Source) and not source.splits:
        return {}
    splits = splits_of(source)
    kinds = kinds_of(splits)
    if len(splits) < 2 or not kinds:
        return {}
    if isinstance(source, Source):
        source.notes.append(said_of(source_name(source), kinds, splits))
    return {kind: _beside(source, splits[split]) for kind, split in kinds.items()}


def kinds_of(splits: Mapping[str, Any]) -> dict[str, str]:
    """What a split is for -> its name, the first of several, in the order of `NAMES`."""
    found: dict[str, str] = {}
    for split in splits:
        if kind := split_of(split):
            found.setdefault(kind, split)
    return {kind: found[kind] for kind in NAMES if kind in found}


def said_of(name: str, kinds: Mapping[str, str], splits: Mapping[str, Any]) -> str:
    """One line: the splits that are known, and those that are left alone."""
    rest = [split for split in splits if split not in kinds.values()]
    return f"{name}: splits {', '.join(kinds.values())}" + (f"; not used: {', '.join(rest)}" if rest else "")


def _beside(source: Any, split: Any) -> Any:
    return source.beside(split) if isinstance(source, Source) and isinstance(split, str) else split
