"""The data sets that `datasets.toml` declares, by name; each is fetched once and written as CSV."""

import tomllib
from pathlib import Path
from typing import Any

from cuetune.errors import CuetuneError
from cuetune_catalog.datasets.record import DataSet
from cuetune_catalog.fetch.archive import Archive
from cuetune_catalog.fetch.cache import Progress

RECORDS = Path(__file__).parent / "datasets.toml"


def read_records(path: Path) -> dict[str, DataSet]:
    """The data sets of a file like `datasets.toml`, in its order. Raises pydantic's ValidationError for a wrong one."""
    with path.open("rb") as stream:
        declared: dict[str, Any] = tomllib.load(stream)
    packages = {name: Archive(package=name, **facts) for name, facts in declared["packages"].items()}
    return {name: DataSet(name=name, **_with_packages(facts, packages)) for name, facts in declared["datasets"].items()}


def _with_packages(facts: dict[str, Any], packages: dict[str, Archive]) -> dict[str, Any]:
    """A data set's facts with its packages themselves instead of their names."""
    return {**facts, "packages": {argument: packages[name] for argument, name in facts["packages"].items()}}


DATASETS = read_records(RECORDS)


def pull_data(name: str, folder: str | Path, progress: Progress | None = None) -> Path:
    """Write `folder/<name>.csv` with the data set's columns; returns its path.

    A file of that name with another content stays. Raises CuetuneError then, when the name is unknown, the archive
    cannot be fetched, or the disk refuses.
    """
    if name not in DATASETS:
        raise CuetuneError(f"no data set {name!r}; choose one of {', '.join(DATASETS)}, or all.")
    path = Path(folder) / f"{name}.csv"
    DATASETS[name].write(path, progress, keep=True)
    return path
