"""Checkpoints: everything a run needs to go on to the same numbers, in one safetensors file that appears whole."""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar

import torch
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from torch import Tensor

from cuetune.errors import CuetuneError
from cuetune.support.files import atomic_file
from cuetune.support.strict_json import DAMAGED, Limits, parse_json, reason_of
from cuetune.support.tensor_file import read_sealed, write_sealed
from cuetune.tuning.run_folder import CHECKPOINT, RUN

NAME = CHECKPOINT
REMEDY = "remove it or start over with --restart"


@dataclass
class Progress:
    """Where a run stands.

    waited: validations since one was better, and lowest_loss: of all after the first step (`tuning.early_stopping`).
    task_embedding: see `tuning.task_embedding`, empty before that step. step_flops: operations of one step, 0 where
    they are not counted yet. validations: how many there were.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")
    step: Annotated[int, Field(ge=0)] = 0
    best_step: Annotated[int, Field(ge=0)] = 0
    best_scores: dict[str, float] = field(default_factory=dict)
    waited: Annotated[int, Field(ge=0)] = 0
    lowest_loss: float | None = None
    seconds: float = 0.0
    tokens: Annotated[int, Field(ge=0)] = 0
    stopped: str = ""
    task_embedding: str = ""
    step_flops: float = 0.0
    validations: int = 0


PROGRESS = TypeAdapter(Progress)


def run_key(**parts: Any) -> str:
    """What makes two runs the same run: a hash of task, settings, data and backbone."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def save_checkpoint(
    folder: Path,
    key: str,
    progress: Progress,
    trained: dict[str, Tensor],
    best: dict[str, Tensor],
    optimizer: torch.optim.Optimizer | None,
) -> None:
    """Write the run's state; an earlier checkpoint is replaced only by a whole one. optimizer: None before any step."""
    RUN.claim(folder)
    tensors = {f"trained.{name}": value for name, value in trained.items()}
    tensors |= {f"best.{name}": value for name, value in best.items()}
    for number, state in optimizer.state_dict()["state"].items() if optimizer else ():
        tensors |= {f"optimizer.{number}.{name}": torch.as_tensor(value) for name, value in state.items()}
    whole = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    with atomic_file(folder / NAME, "wb") as stream:
        write_sealed(stream, folder / NAME, whole, {"key": key, "progress": json.dumps(asdict(progress))})


def load_checkpoint(folder: Path, key: str) -> tuple[Progress, dict[str, dict[str, Tensor]]] | None:
    """The run's state and its tensors by part ("trained", "best", "optimizer"), or None when there is no checkpoint.

    Raises CuetuneError for a checkpoint of another run: data, task, settings or backbone differ.
    """
    path = folder / NAME
    if not path.exists():
        return None
    tensors, metadata = read_sealed(path, ("key", "progress"), REMEDY)
    if metadata.get("key") != key:
        raise CuetuneError(
            f"{path}: belongs to a run with other data, settings or model; repeat that command to go on "
            "with it, choose another --to, or start over with --restart."
        )
    parts: dict[str, dict[str, Tensor]] = {"trained": {}, "best": {}, "optimizer": {}}
    try:
        values = parse_json(metadata["progress"], str(path), Limits(nan=True), REMEDY)
        progress = PROGRESS.validate_python(values)
        for name, value in tensors.items():
            part, rest = name.split(".", 1)
            parts[part][rest] = value
        _numbered(parts["optimizer"])
    except (ValidationError, *DAMAGED) as error:
        raise CuetuneError(f"{path}: is damaged ({reason_of(error)}); {REMEDY}.") from error
    return progress, parts


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Put the saved moments back, number by number."""
    state = _numbered(tensors)
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def _numbered(tensors: dict[str, Tensor]) -> dict[int, dict[str, Tensor]]:
    """Tensors named "number.key" by number and key. Raises ValueError for another name."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        number, _, key = name.partition(".")
        state.setdefault(int(number), {})[key] = value
    return state
