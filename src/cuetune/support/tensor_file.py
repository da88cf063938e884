"""Tensors in files that somebody else may have written, or a disk may have changed.

What a header says is held against the file's length before anything is allocated. A sealed file is a safetensors file
that holds the SHA-256 of itself, written where 64 zeros stood: a single changed bit is noticed.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from safetensors import SafetensorError, safe_open
from safetensors.torch import load as from_bytes
from safetensors.torch import save as to_bytes
from torch import Tensor

from cuetune.errors import CuetuneError
from cuetune.support.strict_json import COPY, DAMAGED, reason_of
from cuetune.support.tensor_header import LARGEST_HEADER, check_header, damaged

MOST_OF_MODELS = 2**17  # of a state that holds a whole model and its optimizer
SEAL, UNSEALED = "sha256", "0" * 64
PIECE = 2**24  # bytes that are hashed at a time


def read_tensors(path: Path, data: bytes, remedy: str = COPY) -> dict[str, Tensor]:
    """The tensors of a safetensors file, all finite. Raises CuetuneError naming the file and the tensor."""
    check_header(path, data, len(data), remedy=remedy)
    try:
        tensors = from_bytes(data)
    except (SafetensorError, *DAMAGED) as error:
        raise damaged(path, reason_of(error), remedy) from error
    for name, tensor in tensors.items():
        check_finite(path, name, tensor)
    return tensors


def check_finite(path: Path, name: str, tensor: Tensor, remedy: str = "tune again", *, as_float: bool = True) -> None:
    """Raise CuetuneError unless all numbers are finite; as_float: also in float32, as prompts are used."""
    small = tensor.element_size() == 1  # of which torch asks nothing
    numbers = tensor.float() if tensor.is_floating_point() and (as_float or small) else tensor
    if tensor.is_complex() or not numbers.isfinite().all():
        shown = reason_of(ValueError(name), 40)
        raise CuetuneError(f"{path}: {shown} holds numbers that are not finite (NaN or infinity); {remedy}.")


def write_sealed(stream: IO[bytes], path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a sealed file. path: its name in messages. Raises CuetuneError for numbers that could not be read again."""
    for name, tensor in tensors.items():
        check_finite(path, name, tensor, as_float=False)
    data = memoryview(to_bytes(dict(tensors), {**metadata, SEAL: UNSEALED}))
    body = 8 + int.from_bytes(data[:8], "little")
    header = bytes(data[:body])
    digest = hashlib.sha256(header)
    digest.update(data[body:])
    stream.write(header.replace(_seal(UNSEALED), _seal(digest.hexdigest())))
    stream.write(data[body:])


def read_sealed(path: Path, known: Sequence[str], remedy: str = COPY) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors, all finite, and the metadata of a sealed file. known: the keys of its metadata, all and no other.

    A file of an earlier version, without a seal, is read too. Raises CuetuneError naming the file for anything else.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            beginning = stream.read(8)
            beginning += stream.read(min(LARGEST_HEADER, int.from_bytes(beginning, "little")))
            header = check_header(path, beginning, size, MOST_OF_MODELS, remedy)
            metadata = header.get("__metadata__") or {}
            if set(metadata) - {SEAL} != set(known):
                raise ValueError(f"its metadata are {', '.join(map(str, metadata)) or 'none'}")
            if SEAL in metadata and _digest(beginning, metadata[SEAL], stream) != metadata[SEAL]:
                raise ValueError("SHA-256 differs from what was written")
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError, *DAMAGED) as error:
        raise damaged(path, reason_of(error), remedy) from error
    for name, tensor in tensors.items():
        check_finite(path, name, tensor, remedy, as_float=False)
    return tensors, {name: str(metadata[name]) for name in known}


def _digest(beginning: bytes, seal: str, rest: IO[bytes]) -> str:
    """SHA-256 of a file with zeros in the place of its seal. rest: the stream behind the header."""
    digest = hashlib.sha256(beginning.replace(_seal(seal), _seal(UNSEALED)))
    while piece := rest.read(PIECE):
        digest.update(piece)
    return digest.hexdigest()


def _seal(value: str) -> bytes:
    """The seal as it stands in the header; inside of other metadata its quotes would be escaped."""
    return f"{json.dumps(SEAL)}:{json.dumps(value)}".encode()
