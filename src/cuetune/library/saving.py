"""Saving: a folder that PEFT loads where it has a form for the prompt, with our own record and a card for readers."""

import hashlib
import json
import os
import re
from dataclasses import replace
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from pydantic import ValidationError
from safetensors.torch import save as to_bytes
from torch import Tensor

from cuetune.errors import CuetuneError
from cuetune.library.card import card
from cuetune.library.contents import UNKNOWN_BACKBONE, PromptContents
from cuetune.library.peft_format import PREFIXES, TOKENS, to_peft
from cuetune.library.record import (
    CARD,
    CONFIG,
    FIRST,
    FORMAT,
    HARMLESS,
    HEAD,
    OURS,
    RECORD,
    STATE,
    WEIGHTS,
    PromptFile,
    first_fault,
)
from cuetune.prompts import HardPrompt, PrefixPrompt, SoftPrompt
from cuetune.support.files import atomic_folder
from cuetune.support.locking import locked
from cuetune.support.ownership import begins_with, read_object
from cuetune.support.strict_json import parse_json

RECORD_HEAD = re.compile(rb'\{\s*"format": \d+,\s*"kind": "[\w-]+",\s*"spec": \{')
PLAIN = (SoftPrompt, HardPrompt, PrefixPrompt)  # PEFT's tensor is all there is to them, so it is stored once


def save(tuned: PromptContents, folder: Path, *, overwrite: bool = False) -> Path:
    """Write `tuned` to `folder`. An older prompt there is replaced only by a whole new one, and only with overwrite.

    Raises CuetuneError when the folder holds anything but a saved prompt, when the prompt or its record could not be
    loaded again (numbers that are not finite, wrong types), or when the disk refuses.
    """
    if overwrite:
        check_replaceable(folder)
    files = contents(tuned, folder)
    check = check_replaceable if overwrite else None
    with locked(folder) as held, held.replacing(), atomic_folder(folder, overwrite=overwrite, check=check) as new:
        for name, content in files.items():
            write_safely(new / name, content)
    return folder


def check_replaceable(folder: Path) -> None:
    """Raise CuetuneError unless `folder` is missing, empty, or a saved prompt and nothing else."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise CuetuneError(f"{folder}: is a file; choose another place for the prompt's folder.")
    try:
        found = {path.name for path in folder.iterdir()} - HARMLESS
    except OSError as error:
        raise CuetuneError(f"{folder}: cannot be read ({error.strerror}); choose another folder.") from error
    if not found:
        return
    if not (_is_our_prompt(folder / RECORD) or (RECORD not in found and _is_peft_prompt(folder / CONFIG))):
        raise CuetuneError(f"{folder}: is not a saved prompt, so it is not overwritten; choose another folder.")
    if strangers := sorted(found - OURS | {name for name in found & OURS if not (folder / name).is_file()}):
        raise CuetuneError(
            f"{folder}: holds {strangers[0]!r}, which is no part of a saved prompt and would be lost; move it away or "
            "choose another folder."
        )


def _is_our_prompt(record: Path) -> bool:
    """Whether this is a record that cuetune wrote, even one that was cut short."""
    keys = {"format", "kind", "spec", "task", "backbone"}
    return begins_with(record, RECORD_HEAD) or set(read_object(record)) >= keys


def _is_peft_prompt(config: Path) -> bool:
    return read_object(config).get("peft_type") in TOKENS + PREFIXES


def contents(tuned: PromptContents, folder: Path) -> dict[str, bytes | str]:
    """Every file of the folder by name. Raises CuetuneError for what could not be loaded again."""
    tuned = replace(tuned, backbone=replace(tuned.backbone, name=public_name(tuned.backbone.name)))
    files: dict[str, bytes | str] = {}
    values: dict[str, Any] = {
        "format": FORMAT if tuned.task.kind else FIRST,
        "kind": tuned.prompt.kind,
        "spec": tuned.prompt.spec(),
        "task": tuned.task.to_dict(),
        "backbone": tuned.backbone.to_dict(),
        "record": tuned.record,
    }
    known = to_peft(tuned.prompt, tuned.backbone)
    if known is not None:
        tensor, config = known
        files[WEIGHTS] = weights = bytes_of({"prompt_embeddings": tensor}, folder)
        files[CONFIG] = to_json(config, folder)
        values["weights_sha256"] = hashlib.sha256(weights).hexdigest()
    if known is None or type(tuned.prompt) not in PLAIN:
        state = {name: value.detach().cpu().contiguous().clone() for name, value in tuned.prompt.state_dict().items()}
        files[STATE] = state_bytes = bytes_of(state, folder)
        values["state_sha256"] = hashlib.sha256(state_bytes).hexdigest()
    if tuned.head is not None:
        numbers = {"weight": tuned.head.weight.contiguous(), "bias": tuned.head.bias.contiguous()}
        files[HEAD] = head_bytes = bytes_of(numbers, folder)
        values["head"] = {"pooling": tuned.head.pooling, "sha256": hashlib.sha256(head_bytes).hexdigest()}
        if tuned.head.layer is not None:
            values["head"]["layer"] = tuned.head.layer
        if tuned.head.classes:
            values["head"]["classes"] = list(tuned.head.classes)
    files[RECORD] = text = to_json(values, folder)
    try:
        PromptFile.model_validate(parse_json(text, f"{folder}: not saved", remedy="tune again"))
    except ValidationError as error:
        raise CuetuneError(f"{folder}: not saved: {first_fault(error)}.") from error
    files[CARD] = card(tuned, folder.name)
    return files


def bytes_of(tensors: dict[str, Tensor], folder: Path) -> bytes:
    _check_numbers(folder, tensors)
    return to_bytes(tensors, {"format": "pt"})


def public_name(name: str) -> str:
    """A backbone's name as others may see it: of a machine's path only the folder's own name; hub ids stay."""
    windows = PureWindowsPath(name)
    if windows.drive or "\\" in name:
        return windows.name or UNKNOWN_BACKBONE
    if name.startswith(("/", "~", ".")) or name.count("/") > 1:
        return PurePosixPath(name).name or UNKNOWN_BACKBONE
    return name


def _check_numbers(folder: Path, tensors: dict[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        if not tensor.numel():
            raise CuetuneError(f"{folder}: not saved: {name} is empty, so there is no prompt.")
        if not tensor.isfinite().all():
            raise CuetuneError(
                f"{folder}: not saved: {name} holds numbers that are not finite (NaN or infinity), so the run "
                "diverged; tune again with a lower learning rate."
            )


def to_json(values: dict[str, Any], folder: Path) -> str:
    try:
        text = json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        text.encode("utf-8")
    except (TypeError, ValueError) as error:
        raise CuetuneError(f"{folder}: not saved: JSON cannot hold what the record holds ({error}).") from error
    return text


def write_safely(path: Path, content: bytes | str) -> None:
    """Write and wait until it is on the disk: the folder is moved into place only after all its files are safe."""
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content, encoding="utf-8", newline="\n")
    with path.open("rb") as stream:
        os.fsync(stream.fileno())
