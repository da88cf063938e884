"""Loading saved prompts from anyone: everything is checked, nothing is run, every fault is one line."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load as from_bytes
from torch import Tensor

from cuetune.backbones.identity import BackboneIdentity
from cuetune.errors import CuetuneError
from cuetune.library.record import FORMAT, PeftFile, PromptFile, first_fault, visible
from cuetune.library.saving import CONFIG, RECORD, STATE, WEIGHTS
from cuetune.library.tuned import UNKNOWN_BACKBONE, TunedPrompt
from cuetune.prompts import Prompt, SoftPrompt
from cuetune.tasks.task import Task

LARGEST = 512 * 2**20  # bytes of tensors; a prompt of 4,096 tokens on the widest models is a fifth of this
LARGEST_JSON = 16 * 2**20  # bytes; thousands of labels and tens of thousands of token ids are a tenth of this

# What strangers' values can make torch, safetensors and a prompt's constructor raise.
BAD_VALUES = (AttributeError, IndexError, KeyError, OverflowError, RuntimeError, TypeError, ValueError)

AnyFile = TypeVar("AnyFile", bound=BaseModel)


def load(folder: Path, task: Task | None = None) -> TunedPrompt:
    """The prompt in `folder`. task: what it is asked, for PEFT folders (they do not say), or to ask it otherwise.

    Raises CuetuneError naming the file for anything missing, cut short, altered, not finite or of the wrong size.
    """
    _check_folder(folder)
    config, _ = _parse(PeftFile, folder, CONFIG)
    if config.peft_type != "PROMPT_TUNING":
        kind = visible(config.peft_type)[:40]
        raise CuetuneError(f"{folder / CONFIG}: holds a {kind} adapter; only PROMPT_TUNING can be loaded.")
    data = _bytes(folder, WEIGHTS, LARGEST)
    embeddings = _embeddings(folder / WEIGHTS, data, config)
    if not os.path.lexists(folder / RECORD):
        return _from_peft(folder, embeddings, config, task)
    saved, record = _saved(folder)
    _check_hash(folder / WEIGHTS, data, saved.weights_sha256)
    if embeddings.shape[1] != saved.backbone.hidden_size:
        raise CuetuneError(
            f"{folder / WEIGHTS}: width {embeddings.shape[1]}, but its backbone {visible(saved.backbone.name)} has "
            f"{saved.backbone.hidden_size}; the folder is damaged, copy it again."
        )
    prompt = _prompt(folder, saved, embeddings)
    try:
        task = task or Task.from_dict(saved.task.model_dump())
    except CuetuneError as error:
        raise CuetuneError(f"{folder / RECORD}: task: {visible(str(error))}") from error
    return TunedPrompt(prompt, task, BackboneIdentity.from_dict(saved.backbone.model_dump()), record)


def _check_folder(folder: Path) -> None:
    try:
        found = sorted(path.name for path in folder.iterdir())
    except FileNotFoundError:
        raise CuetuneError(f"{folder}: no such folder; give the folder that `cuetune tune --to` wrote.") from None
    except OSError as error:
        raise CuetuneError(f"{folder}: cannot be read as a folder ({error.strerror}).") from error
    if CONFIG not in found:
        named = visible(", ".join(found[:6])) or "nothing"
        raise CuetuneError(
            f"{folder}: not a saved prompt: no {CONFIG} (found: {named}); give the folder that `cuetune tune --to` "
            "wrote."
        )
    if WEIGHTS in found:
        return
    if "adapter_model.bin" in found:
        raise CuetuneError(
            f"{folder}: no {WEIGHTS}; adapter_model.bin can run code and is not read; convert it to safetensors: load "
            "it with PEFT where you trust it, and save_pretrained writes safetensors."
        )
    raise CuetuneError(f"{folder}: no {WEIGHTS}; copy it too.")


def _bytes(folder: Path, name: str, largest: int) -> bytes:
    """A file's content, if it is a plain file that really lies in the folder and is of a sensible size."""
    path, home = folder / name, folder.resolve()
    try:
        real = path.resolve(strict=True)
        # A hub's cache links its files to blobs beside the folder of snapshots: that is no escape.
        in_hub_cache = home.parent.name == "snapshots" and real.parent == home.parent.parent / "blobs"
        if real.parent != home and not in_hub_cache:
            raise CuetuneError(f"{path}: is a link to a place outside the folder; replace it with the file itself.")
        if not real.is_file():
            raise CuetuneError(f"{path}: is not a plain file; copy the folder again.")
        if (size := real.stat().st_size) > largest:
            raise CuetuneError(f"{path}: {size / 2**20:,.0f} MiB is too large for a prompt; copy the folder again.")
        return real.read_bytes()
    except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle
        reason = getattr(error, "strerror", None) or str(error)
        raise CuetuneError(f"{path}: cannot be read ({reason}); copy the folder again.") from error


def _parse(shape: type[AnyFile], folder: Path, name: str) -> tuple[AnyFile, Any]:
    """A JSON file in its shape, and its plain values. Strict: no NaN, no numbers beyond floats, no broken Unicode."""
    path = folder / name
    content = _bytes(folder, name, LARGEST_JSON)
    try:
        values = json.loads(content.decode("utf-8"))
        # Python reads NaN, Infinity and halves of characters; writing them strictly does not pass.
        json.dumps(values, ensure_ascii=False, allow_nan=False).encode("utf-8")
    except json.JSONDecodeError as error:
        raise CuetuneError(f"{path}: not JSON (line {error.lineno}: {error.msg}); copy the folder again.") from error
    except (ValueError, RecursionError) as error:
        raise CuetuneError(f"{path}: not JSON ({visible(str(error))[:80]}); copy the folder again.") from error
    try:
        return shape.model_validate(values), values
    except ValidationError as error:
        raise CuetuneError(
            f"{path}: {first_fault(error)}; the file was altered or is of another tool, copy the folder again."
        ) from error


def _saved(folder: Path) -> tuple[PromptFile, dict[str, Any]]:
    """cuetune.json, and its record as it stands there."""
    # The number of the format first: a newer file may have keys that would otherwise be reported as the fault.
    version, _ = _parse(Version, folder, RECORD)
    if version.format > FORMAT:
        raise CuetuneError(
            f"{folder / RECORD}: format {version.format} is newer than this cuetune reads ({FORMAT}); upgrade cuetune."
        )
    saved, values = _parse(PromptFile, folder, RECORD)
    return saved, values["record"]


class Version(BaseModel, strict=True, extra="ignore"):
    """All that is read of a cuetune.json before its format is known."""

    format: int


def _check_hash(path: Path, data: bytes, expected: str) -> None:
    if hashlib.sha256(data).hexdigest() != expected:
        raise CuetuneError(
            f"{path}: is not the file that {RECORD} was saved with (SHA-256 differs); copy the whole folder again."
        )


def _tensors(path: Path, data: bytes) -> dict[str, Tensor]:
    try:
        tensors = from_bytes(data)
    except (SafetensorError, *BAD_VALUES) as error:
        raise CuetuneError(
            f"{path}: not a whole safetensors file ({visible(str(error))[:80]}); copy it again."
        ) from error
    for name, tensor in tensors.items():
        numbers = tensor.float() if tensor.is_floating_point() else tensor
        if tensor.is_complex() or not numbers.isfinite().all():  # in float32, as they are used
            raise CuetuneError(
                f"{path}: {visible(name)[:40]} holds numbers that are not finite (NaN or infinity); tune again."
            )
    return tensors


def _embeddings(path: Path, data: bytes, config: PeftFile) -> Tensor:
    """The prompt of PEFT's format, (P, d) in float32."""
    tensors = _tensors(path, data)
    found = tensors.get("prompt_embeddings")
    if found is None or not found.is_floating_point():
        named = visible(", ".join(list(tensors)[:5]))[:80] or "none"
        raise CuetuneError(f"{path}: has no tensor 'prompt_embeddings' of floating point (found: {named}).")
    if config.num_transformer_submodules not in (None, 1):
        raise CuetuneError(
            f"{path.with_name(CONFIG)}: a prompt for encoder and decoder; only prompts for causal models can be loaded."
        )
    wanted = (config.num_virtual_tokens, config.token_dim)
    if tuple(found.shape) != wanted or not found.numel():
        raise CuetuneError(f"{path}: shape {tuple(found.shape)}, but {CONFIG} says {wanted}; the folder is damaged.")
    return found.float()


def _prompt(folder: Path, saved: PromptFile, embeddings: Tensor) -> Prompt:
    tensors = {"embeddings": embeddings}
    if saved.state_sha256 is not None:
        data = _bytes(folder, STATE, LARGEST)
        _check_hash(folder / STATE, data, saved.state_sha256)
        tensors = _tensors(folder / STATE, data)
    kind = visible(saved.kind)[:40]
    try:
        _check_ids(saved.spec, embeddings.shape[0])
        prompt = Prompt.rebuild(saved.kind, saved.spec, tensors)
        added = prompt.injection().tokens[0].shape
    except CuetuneError as error:
        raise CuetuneError(f"{folder / RECORD}: {visible(str(error))[:300]}") from error
    except BAD_VALUES as error:
        raise CuetuneError(
            f"{folder / RECORD}: the {kind} prompt cannot be rebuilt ({visible(str(error))[:80]}); copy the folder "
            "again."
        ) from error
    if added != embeddings.shape:
        raise CuetuneError(f"{folder / RECORD}: the {kind} prompt and {WEIGHTS} differ in size; copy the folder again.")
    return prompt


def _check_ids(spec: dict[str, Any], length: int) -> None:
    """Hard prompts name their tokens: one id for each virtual token."""
    ids = spec.get("ids", [])
    if not isinstance(ids, list) or not all(type(token) is int and 0 <= token < 2**31 for token in ids):
        raise ValueError("spec.ids is not a list of token ids")
    if "ids" in spec and len(ids) != length:
        raise ValueError(f"{len(ids)} token ids for {length} virtual tokens")


def _from_peft(folder: Path, embeddings: Tensor, config: PeftFile, task: Task | None) -> TunedPrompt:
    """A folder that PEFT wrote: the model is known by name and width only, and the task is for the caller to say."""
    backbone = BackboneIdentity(
        name=config.base_model_name_or_path or UNKNOWN_BACKBONE,
        revision=config.revision,
        weights_hash="",
        tokenizer_hash="",
        model_type="",
        hidden_size=config.token_dim,
        num_layers=config.num_layers or 0,
        num_heads=config.num_attention_heads or 0,
    )
    return TunedPrompt(SoftPrompt(embeddings), task or Task(template="{text}", name="peft"), backbone, {}, "peft")
