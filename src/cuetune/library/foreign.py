"""Prompts of other tools that are one bare array (P, d): Google's `.npy`, IBM's `decoder.pt` and `encoder.pt`."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cuetune.backbones.identity import BackboneIdentity
from cuetune.errors import CuetuneError
from cuetune.library.tuned import UNKNOWN_BACKBONE, TunedPrompt
from cuetune.prompts import SoftPrompt
from cuetune.tasks.task import Task

ENDINGS = (".npy", ".pt")
IN_FOLDER = ("decoder.pt", "encoder.pt")  # a causal model's prompt is in the first


def foreign_file(path: Path) -> Path | None:
    """The file with a bare array that `path` is or holds, or None."""
    if path.is_file() and path.suffix in ENDINGS:
        return path
    return next((path / name for name in IN_FOLDER if (path / name).is_file()), None)


def load_foreign(path: Path, task: Task | None = None) -> TunedPrompt:
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
    return TunedPrompt(
        SoftPrompt(tensor.float()), task or Task(template="{text}", name=path.stem), backbone, {}, "array"
    )


def _array(path: Path) -> Tensor:
    try:
        if path.suffix == ".npy":
            return torch.from_numpy(np.ascontiguousarray(np.load(path, allow_pickle=False)))
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # numpy and torch raise many kinds for files that are cut short or hold code
        reason = str(error).strip().splitlines()[0][:80] if str(error).strip() else type(error).__name__
        raise CuetuneError(f"{path}: not a plain array ({reason}); nothing in it was run.") from error
    if isinstance(found, dict) and len(found) == 1:
        found = next(iter(found.values()))
    if not isinstance(found, Tensor):
        raise CuetuneError(f"{path}: holds a {type(found).__name__}, not one array (P, d).")
    return found
