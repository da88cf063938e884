"""Loading saved prompts from anyone: everything is checked, nothing is run, every fault is one line."""

import hashlib
import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load as from_bytes
from torch import Tensor

from cuetune.backbones.identity import BackboneIdentity
from cuetune.errors import CuetuneError
from cuetune.library.saving import CONFIG, FORMAT, RECORD, WEIGHTS
from cuetune.library.tuned import TunedPrompt
from cuetune.prompts import Prompt, SoftPrompt
from cuetune.tasks.task import Task

LARGEST = 512 * 2**20  # bytes; a prompt of 4,096 tokens on the widest models is a fifth of this


class TaskFile(BaseModel):
    """The shape of a saved task."""

    model_config = ConfigDict(extra="forbid", strict=True)
    template: str
    label_column: str
    labels: list[str]
    label_words: list[str]
    instruction: str
    columns: dict[str, str]
    max_tokens: int
    name: str


class BackboneFile(BaseModel):
    """The shape of a saved backbone identity."""

    model_config = ConfigDict(extra="forbid", strict=True)
    name: str
    revision: str | None
    weights_hash: str
    tokenizer_hash: str
    model_type: str
    hidden_size: int
    num_layers: int
    num_heads: int


class RecordFile(BaseModel):
    """The shape of cuetune.json."""

    model_config = ConfigDict(extra="forbid", strict=True)
    format: int
    kind: str
    spec: dict[str, Any]
    task: TaskFile
    backbone: BackboneFile
    record: dict[str, Any]
    weights_sha256: str


class PeftFile(BaseModel):
    """What is read of adapter_config.json; PEFT's other keys are ignored."""

    peft_type: str
    num_virtual_tokens: int = 0
    token_dim: int = 0
    base_model_name_or_path: str | None = None
    revision: str | None = None
    num_layers: int | None = None
    num_attention_heads: int | None = None
    num_transformer_submodules: int | None = 1


def load(folder: Path, task: Task | None = None) -> TunedPrompt:
    """The prompt in `folder`. task: what it is asked, for PEFT folders (they do not say), or to ask it otherwise.

    Raises CuetuneError naming the file for anything missing, cut short, altered, not finite or of the wrong size.
    """
    _check_folder(folder)
    config = _parse(PeftFile, folder / CONFIG)
    if config.peft_type != "PROMPT_TUNING":
        raise CuetuneError(f"{folder / CONFIG}: holds a {config.peft_type} adapter; only PROMPT_TUNING can be loaded.")
    data = _bytes(folder, WEIGHTS)
    embeddings = _embeddings(folder, data, config)
    if not (folder / RECORD).exists():
        return _from_peft(embeddings, config, task)
    saved = _parse(RecordFile, folder / RECORD)
    if saved.format > FORMAT:
        raise CuetuneError(
            f"{folder / RECORD}: format {saved.format} is newer than this cuetune reads ({FORMAT}); upgrade it."
        )
    if hashlib.sha256(data).hexdigest() != saved.weights_sha256:
        raise CuetuneError(
            f"{folder / WEIGHTS}: is not the file that {RECORD} was saved with (SHA-256 differs); copy the "
            "whole folder again."
        )
    if embeddings.shape[1] != saved.backbone.hidden_size:
        raise CuetuneError(
            f"{folder / WEIGHTS}: width {embeddings.shape[1]}, but its backbone "
            f"{saved.backbone.name} has {saved.backbone.hidden_size}; the folder is damaged."
        )
    try:
        prompt = Prompt.rebuild(saved.kind, saved.spec, {"embeddings": embeddings})
    except (KeyError, TypeError, ValueError) as error:
        raise CuetuneError(f"{folder / RECORD}: the {saved.kind!r} prompt cannot be rebuilt ({error}).") from error
    backbone = BackboneIdentity.from_dict(saved.backbone.model_dump())
    return TunedPrompt(prompt, task or Task.from_dict(saved.task.model_dump()), backbone, saved.record)


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise CuetuneError(f"{folder}: no such folder; give the folder that `cuetune tune --to` wrote.")
    if not (folder / CONFIG).exists():
        found = ", ".join(sorted(path.name for path in folder.iterdir())[:6]) or "nothing"
        raise CuetuneError(f"{folder}: not a saved prompt: no {CONFIG} (found: {found}).")
    if not (folder / WEIGHTS).exists():
        pickled = (folder / "adapter_model.bin").exists()
        advice = (
            "adapter_model.bin can run code and is not read; save it again with safetensors"
            if pickled
            else "copy it too"
        )
        raise CuetuneError(f"{folder}: no {WEIGHTS}; {advice}.")


def _bytes(folder: Path, name: str) -> bytes:
    """A file's content, if it really lies in the folder and is of a sensible size."""
    path = folder / name
    inside = path.resolve().parent == folder.resolve()
    # A hub's cache links its files to blobs beside the folder of the snapshot: that is no escape.
    in_hub_cache = path.is_symlink() and path.resolve().parent.name == "blobs" and folder.parent.name == "snapshots"
    if not inside and not in_hub_cache:
        raise CuetuneError(f"{path}: is a link to a place outside the folder; replace it with the file itself.")
    if path.stat().st_size > LARGEST:
        raise CuetuneError(f"{path}: {path.stat().st_size / 2**20:,.0f} MiB is too large for a prompt.")
    try:
        return path.read_bytes()
    except OSError as error:
        raise CuetuneError(f"{path}: cannot be read ({error.strerror}).") from error


def _parse(model: type[Any], path: Path) -> Any:
    try:
        values = json.loads(_bytes(path.parent, path.name))
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        where = f"line {error.lineno}: {error.msg}" if isinstance(error, json.JSONDecodeError) else str(error)[:80]
        raise CuetuneError(f"{path}: not JSON ({where}); copy the folder again.") from error
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])) or "the whole file"
        raise CuetuneError(
            f"{path}: {key}: {first['msg'].lower()}; the file was altered or is of another tool."
        ) from error


def _embeddings(folder: Path, data: bytes, config: PeftFile) -> Tensor:
    path = folder / WEIGHTS
    try:
        tensors = from_bytes(data)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise CuetuneError(f"{path}: not a whole safetensors file ({str(error)[:80]}); copy it again.") from error
    found = tensors.get("prompt_embeddings")
    if found is None:
        raise CuetuneError(
            f"{path}: has no tensor 'prompt_embeddings' (found: {', '.join(list(tensors)[:5]) or 'none'})."
        )
    wanted = (config.num_virtual_tokens * (config.num_transformer_submodules or 1), config.token_dim)
    if tuple(found.shape) != wanted:
        raise CuetuneError(f"{path}: shape {tuple(found.shape)}, but {CONFIG} says {wanted}; the folder is damaged.")
    if not found.float().isfinite().all():
        raise CuetuneError(f"{path}: holds numbers that are not finite (NaN or infinity); tune again.")
    return found.float()


def _from_peft(embeddings: Tensor, config: PeftFile, task: Task | None) -> TunedPrompt:
    """A folder that PEFT wrote: the model is known by name and width only, and the task is for the caller to say."""
    if config.num_transformer_submodules not in (None, 1):
        raise CuetuneError("a prompt for encoder and decoder; only causal models can use prompts of PEFT here.")
    backbone = BackboneIdentity(
        name=config.base_model_name_or_path or "unknown",
        revision=config.revision,
        weights_hash="",
        tokenizer_hash="",
        model_type="",
        hidden_size=config.token_dim,
        num_layers=config.num_layers or 0,
        num_heads=config.num_attention_heads or 0,
    )
    return TunedPrompt(SoftPrompt(embeddings), task or Task(template="{text}", name="peft"), backbone, {}, "peft")
