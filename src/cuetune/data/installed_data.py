"""Names of data sets that installed packages add."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cuetune.data.dataset_source import chosen_part, located
from cuetune.data.sources import Source
from cuetune.support import plugins
from cuetune.support.named_paths import possible


def installed(source: Any) -> Any:
    """The rows of the data set that a name stands for ("name", "name@split"); any other source as it is.

    What a `Source` says of its files holds for the data set's. Raises CuetuneError when the data set cannot be had.
    """
    if not isinstance(source, str) or source.partition("@")[0] not in plugins.offers(plugins.DATASETS):
        return source  # its path, which may be one that cannot be looked up, is for the readers to judge
    name, behind = located(possible(source))
    if not plugins.is_dataset(name):
        return source
    rows, split = plugins.dataset(name).source(), "@".join(behind)
    if split and isinstance(rows, Mapping):
        rows = chosen_part(rows, split, name)
    elif split:
        rows = f"{rows}@{split}"
    return source.beside(rows) if isinstance(source, Source) and isinstance(rows, str | Path) else rows
