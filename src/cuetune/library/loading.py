"""Loading saved prompts from anyone: everything is checked, nothing is run, every fault is one line."""

import hashlib
import os
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from torch import Tensor

from cuetune.backbones.identity import BackboneIdentity
from cuetune.backbones.injection import Injection
from cuetune.data.task import Task
from cuetune.errors import CuetuneError
from cuetune.library.contents import UNKNOWN_BACKBONE, Kept, PromptContents
from cuetune.library.foreign import foreign_file, load_foreign
from cuetune.library.peft_format import PREFIXES, TOKENS, from_peft
from cuetune.library.record import FORMAT, PeftFile, PromptFile, first_fault
from cuetune.library.saving import CONFIG, HEAD, RECORD, STATE, WEIGHTS
from cuetune.prompts import Prompt
from cuetune.readouts import POOLINGS, Head
from cuetune.support.named_paths import possible
from cuetune.support.strict_json import DAMAGED, PLAIN, parse_json
from cuetune.support.tensor_file import read_tensors
from cuetune.visible import one_line

LARGEST = 512 * 2**20  # bytes of tensors; a prompt of 4,096 tokens on the widest models is a fifth of this
LARGEST_JSON = PLAIN.size

AnyFile = TypeVar("AnyFile", bound=BaseModel)
LEARNED = "stream.safetensors"  # what `cuetune learn` writes


def load(folder: Path, task: Task | None = None, kind: type[Kept] = PromptContents) -> Kept:  # type: ignore[assignment]
    """The prompt in `folder`. task: what it is asked, for PEFT folders (they do not say), or to ask it otherwise.

    Raises CuetuneError naming the file for anything missing, cut short, altered, not finite or of the wrong size.
    """
    ours = os.path.lexists(possible(folder) / RECORD)
    if not ours and (bare := foreign_file(folder)) is not None:  # beside a record of ours, nothing else is looked at
        return load_foreign(bare, task, kind)
    _check_folder(folder)
    if not ours:
        return _from_peft(folder, task, kind)
    saved, record = _saved(folder)
    prompt = _prompt(folder, saved)
    try:
        asked = Task.from_dict(saved.task.model_dump())
    except CuetuneError as error:
        raise CuetuneError(f"{folder / RECORD}: task: {one_line(str(error))}") from error
    identity = BackboneIdentity.from_dict(saved.backbone.model_dump())
    head = _head(folder, saved, asked.answers.n_scores)
    return kind(prompt, task or asked, identity, record, head=head)


def _check_folder(folder: Path) -> None:
    try:
        found = sorted(path.name for path in folder.iterdir())
    except FileNotFoundError:
        raise CuetuneError(f"{folder}: no such folder; give the folder that `cuetune tune --to` wrote.") from None
    except OSError as error:
        raise CuetuneError(f"{folder}: cannot be read as a folder ({error.strerror}).") from error
    if LEARNED in found and CONFIG not in found:
        raise CuetuneError(
            f"{folder}: was learned of a stream (`cuetune learn`), and this takes a prompt of `cuetune tune`; add the "
            "rows to the stream and learn on with the same --to."
        )
    if CONFIG not in found and (RECORD not in found or WEIGHTS in found):
        named = one_line(", ".join(found[:6])) or "nothing"
        raise CuetuneError(
            f"{folder}: not a saved prompt: no {CONFIG} (found: {named}); give the folder that `cuetune tune --to` "
            "wrote."
        )
    if WEIGHTS in found or CONFIG not in found:
        return
    if "adapter_model.bin" in found:
        raise CuetuneError(
            f"{folder}: no {WEIGHTS}; adapter_model.bin can run code and is not read; convert it to safetensors: load "
            "it with PEFT where you trust it, and save_pretrained writes safetensors."
        )
    raise CuetuneError(f"{folder}: no {WEIGHTS}; copy it too.")


def read_bytes(folder: Path, name: str, largest: int) -> bytes:
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


def parse(shape: type[AnyFile], folder: Path, name: str) -> tuple[AnyFile, Any]:
    """A JSON file in its shape, and its plain values. Strict: no NaN, no numbers beyond floats, no broken Unicode."""
    path = folder / name
    content = read_bytes(folder, name, LARGEST_JSON)
    values = parse_json(content, str(path), remedy="copy the folder again")
    try:
        return shape.model_validate(values), values
    except ValidationError as error:
        raise CuetuneError(
            f"{path}: {first_fault(error)}; the file was altered or is of another tool, copy the folder again."
        ) from error


def _saved(folder: Path) -> tuple[PromptFile, dict[str, Any]]:
    """cuetune.json, and its record as it stands there."""
    # The number of the format first: a newer file may have keys that would otherwise be reported as the fault.
    version, _ = parse(Version, folder, RECORD)
    if version.format > FORMAT:
        raise CuetuneError(
            f"{folder / RECORD}: format {version.format} is newer than this cuetune reads ({FORMAT}); upgrade cuetune."
        )
    saved, values = parse(PromptFile, folder, RECORD)
    return saved, values["record"]


class Version(BaseModel, strict=True, extra="ignore"):
    """All that is read of a cuetune.json before its format is known."""

    format: int


def check_hash(path: Path, data: bytes, expected: str) -> None:
    if hashlib.sha256(data).hexdigest() != expected:
        raise CuetuneError(
            f"{path}: is not the file that {RECORD} was saved with (SHA-256 differs); copy the whole folder again."
        )


def _peft_prompt(folder: Path, data: bytes) -> tuple[Prompt, PeftFile]:
    """The prompt of PEFT's files, and their configuration."""
    config, _ = parse(PeftFile, folder, CONFIG)
    if config.peft_type not in TOKENS + PREFIXES:
        kind = one_line(config.peft_type)[:40]
        raise CuetuneError(f"{folder / CONFIG}: holds a {kind} adapter; only {', '.join(TOKENS + PREFIXES)} load.")
    tensors = read_tensors(folder / WEIGHTS, data)
    found = tensors.get("prompt_embeddings")
    if found is None or not found.is_floating_point():
        named = one_line(", ".join(list(tensors)[:5]))[:80] or "none"
        raise CuetuneError(f"{folder / WEIGHTS}: has no tensor 'prompt_embeddings' of floating point (found: {named}).")
    return from_peft(found, config, str(folder / WEIGHTS)), config


def _prompt(folder: Path, saved: PromptFile) -> Prompt:
    """The prompt that cuetune.json describes; both files of numbers, where there are two, must say the same."""
    tensors: dict[str, Tensor] = {}
    known = None
    if saved.weights_sha256 is not None:
        data = read_bytes(folder, WEIGHTS, LARGEST)
        known, _ = _peft_prompt(folder, data)
        check_hash(folder / WEIGHTS, data, saved.weights_sha256)
        tensors = dict(known.state_dict())
    if saved.state_sha256 is not None:
        data = read_bytes(folder, STATE, LARGEST)
        check_hash(folder / STATE, data, saved.state_sha256)
        tensors = read_tensors(folder / STATE, data)
        if empty := [name for name, tensor in tensors.items() if not tensor.numel()]:
            raise CuetuneError(f"{folder / STATE}: {one_line(empty[0])[:40]} holds no numbers; copy the folder again.")
    kind = one_line(saved.kind)[:40]
    try:
        prompt = Prompt.rebuild(saved.kind, saved.spec, tensors)
        injections = [member.injection() for member in prompt.members]
        _check_ids(saved.spec, injections[0].n_tokens)
    except CuetuneError as error:
        raise CuetuneError(f"{folder / RECORD}: {one_line(str(error))[:300]}") from error
    except DAMAGED as error:
        raise CuetuneError(
            f"{folder / RECORD}: the {kind} prompt cannot be rebuilt ({one_line(str(error))[:80]}); copy the folder "
            "again."
        ) from error
    for injection in injections:
        _check_sizes(folder, saved, injection)
    if known is not None and not _alike(known.injection(), injections[0]):
        raise CuetuneError(f"{folder / RECORD}: the {kind} prompt and {WEIGHTS} differ in size; copy the folder again.")
    return prompt


def _head(folder: Path, saved: PromptFile, labels: int) -> Head | None:
    """The trained head of a folder that has one, with a row of numbers for each label, or one for a number."""
    if saved.head is None:
        return None
    path = folder / HEAD
    data = read_bytes(folder, HEAD, LARGEST)
    check_hash(path, data, saved.head.sha256)
    tensors = read_tensors(path, data)
    weight, bias = tensors.get("weight"), tensors.get("bias")
    if weight is None or bias is None or weight.dim() != 2 or [len(weight), *bias.shape] != [labels, labels]:
        raise CuetuneError(f"{path}: is no head for {labels} labels; copy the folder again.")
    if saved.head.pooling not in POOLINGS:
        raise CuetuneError(f"{folder / RECORD}: head.pooling is none of {', '.join(POOLINGS)}; copy the folder again.")
    if saved.head.layer is not None and saved.head.layer >= saved.backbone.num_layers:
        raise CuetuneError(
            f"{folder / RECORD}: a head on layer {saved.head.layer}, but its backbone has {saved.backbone.num_layers} "
            "layers; the folder is damaged, copy it again."
        )
    if saved.head.classes and len(saved.head.classes) != labels:
        named = len(saved.head.classes)
        raise CuetuneError(f"{folder / RECORD}: {named} head.classes for {labels} labels; copy the folder again.")
    return Head(saved.head.pooling, weight.float(), bias.float(), saved.head.layer, tuple(saved.head.classes))


def _check_sizes(folder: Path, saved: PromptFile, injection: Injection) -> None:
    """A prompt must have the width and the layers of the backbone that it says it is for."""
    backbone = BackboneIdentity.from_dict(saved.backbone.model_dump())
    for layer, states in injection.tokens.items():
        width = backbone.width_at(layer)
        if states.shape[-1] != width or not 0 <= layer < max(1, backbone.num_layers):
            raise CuetuneError(
                f"{folder}: width {states.shape[-1]} at layer {layer}, but its backbone {one_line(backbone.name)} has "
                f"{width} there and {backbone.num_layers} layers; the folder is damaged, copy it again."
            )
    if injection.kv and max(injection.kv) >= backbone.num_layers:
        raise CuetuneError(
            f"{folder}: a prefix for layer {max(injection.kv)}, but its backbone {one_line(backbone.name)} has "
            f"{backbone.num_layers} layers; the folder is damaged, copy it again."
        )


def _alike(first: Injection, second: Injection) -> bool:
    """Whether two injections have the same places and sizes."""

    def sizes(injection: Injection) -> list[Any]:
        tokens = [(layer, *states.shape) for layer, states in sorted(injection.tokens.items())]
        return [*tokens, *((layer, *pair[0].shape) for layer, pair in sorted(injection.kv.items()))]

    return sizes(first) == sizes(second)


def _check_ids(spec: dict[str, Any], length: int) -> None:
    """Hard prompts name their tokens: one id for each virtual token."""
    ids = spec.get("ids", [])
    if not isinstance(ids, list) or not all(type(token) is int and 0 <= token < 2**31 for token in ids):
        raise ValueError("spec.ids is not a list of token ids")
    if "ids" in spec and len(ids) != length:
        raise ValueError(f"{len(ids)} token ids for {length} virtual tokens")


def _from_peft(folder: Path, task: Task | None, kind: type[Kept]) -> Kept:
    """A folder that PEFT wrote: the model is known by name and sizes only, and the task is for the caller to say."""
    prompt, config = _peft_prompt(folder, read_bytes(folder, WEIGHTS, LARGEST))
    backbone = BackboneIdentity(
        name=config.base_model_name_or_path or UNKNOWN_BACKBONE,
        revision=config.revision,
        weights_hash="",
        tokenizer_hash="",
        model_type="",
        hidden_size=config.token_dim if config.peft_type in TOKENS else 0,  # a prefix does not say it
        num_layers=config.num_layers or 0,
        num_heads=config.num_attention_heads or 0,
    )
    return kind(prompt, task or Task(template="{text}", name="peft"), backbone, {}, "peft")
