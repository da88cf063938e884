"""Prompts of other tools that are one bare array (P, d): Google's `.npy`, IBM's `decoder.pt` and `encoder.pt`."""

import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cuetune.backbones.identity import BackboneIdentity
from cuetune.data.task import Task
from cuetune.errors import CuetuneError
from cuetune.library.contents import UNKNOWN_BACKBONE, Kept
from cuetune.prompts import SoftPrompt

LARGEST = 512 * 2**20  # bytes
LARGEST_PICKLE = 2**20  # bytes of the part of a `.pt` file that says what the numbers are
MOST_RECORDS = 64  # parts of a `.pt` file; one tensor needs half a dozen
ENDINGS = (".npy", ".pt")
IN_FOLDER = ("decoder.pt", "encoder.pt")  # a causal model's prompt is in the first


def foreign_file(path: Path) -> Path | None:
    """The file with a bare array that `path` is or holds, or None."""
    if path.is_file() and path.suffix in ENDINGS:
        return path
    return next((path / name for name in IN_FOLDER if (path / name).is_file()), None)


def load_foreign(path: Path, task: Task | None, kind: type[Kept]) -> Kept:
    """A soft prompt from a bare array. Nothing in the file is run: no pickled objects are accepted.

    The file says neither model nor task: give both (`--model`, `task`). Raises CuetuneError for anything but one finite
    (P, d) array.
    """
    tensor = _array(path)
    if tensor.dim() == 3 and tensor.shape[0] == 1:
        tensor = tensor[0]
    if tensor.dim() != 2 or not tensor.numel() or not tensor.is_floating_point():
        raise CuetuneError(f"{path}: shape {tuple(tensor.shape)} of {tensor.dtype}; expected floating-point (P, d).")
    if not tensor.isfinite().all():
        raise CuetuneError(f"{path}: holds numbers that are not finite (NaN or infinity).")
    backbone = BackboneIdentity(UNKNOWN_BACKBONE, None, "", "", "", tensor.shape[1], 0, 0)
    return kind(SoftPrompt(tensor.float()), task or Task(template="{text}", name=path.stem), backbone, {}, "array")


def _array(path: Path) -> Tensor:
    try:
        if (size := path.stat().st_size) > LARGEST:
            raise ValueError(f"{size / 2**20:,.0f} MiB is too large for a prompt")
        found = _of_numpy(path) if path.suffix == ".npy" else _of_torch(path)
    except Exception as error:  # numpy and torch raise many kinds for files that are cut short or hold code
        reason = str(error).strip().splitlines()[0][:80] if str(error).strip() else type(error).__name__
        raise CuetuneError(f"{path}: not a plain array ({reason}); nothing in it was run.") from error
    if not isinstance(found, Tensor):
        raise CuetuneError(f"{path}: holds a {type(found).__name__}, not one array (P, d).")
    return found


def _of_numpy(path: Path) -> Tensor:
    """The array of a `.npy` file, whose header must ask for the bytes that are there before room is made for them."""
    with path.open("rb") as stream:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(stream)
        asked, there = math.prod(shape) * dtype.itemsize, path.stat().st_size - stream.tell()
    if dtype.hasobject or asked != there:
        raise ValueError(f"{shape} of {dtype} are {asked:,} bytes, and {there:,} are there")
    return torch.from_numpy(np.ascontiguousarray(np.load(path, allow_pickle=False)))


def _of_torch(path: Path) -> Any:
    """What a `.pt` file holds, alone or as the only value of a dictionary; only tensors are made.

    torch takes the file's word for how long a storage is, and would read beyond its end: so that is checked before any
    number is looked at.
    """
    with zipfile.ZipFile(path) as archive:
        sizes = {info.filename: info.file_size for info in archive.infolist()}
    code = max((size for name, size in sizes.items() if "/data/" not in name), default=0)
    if sum(sizes.values()) > LARGEST or code > LARGEST_PICKLE or len(sizes) > MOST_RECORDS:
        raise ValueError("too large for a prompt")
    found = torch.load(path, map_location="cpu", weights_only=True)
    if isinstance(found, dict) and len(found) == 1:
        found = next(iter(found.values()))
    if isinstance(found, Tensor):
        if found.layout is not torch.strided or found.is_quantized or found.is_meta:
            raise ValueError("not a plain tensor")
        stored = found.untyped_storage().nbytes()
        if stored not in sizes.values() or found.numel() * found.element_size() > stored:
            raise ValueError("it asks for more numbers than it holds")
    return found
