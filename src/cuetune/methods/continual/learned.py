"""What was learned of a stream so far: one safetensors file, which holds all that is needed to go on and no example.

Its tensors are the learner's; its metadata say in JSON which tasks were learned, how, and how well.
"""

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ConfigDict, Field, ValidationError, field_validator
from torch import Tensor

from cuetune.backbones.identity import BackboneIdentity
from cuetune.data.task import Task
from cuetune.errors import CuetuneError
from cuetune.library.record import BackboneFile, Count, Shape, TaskFile, first_fault
from cuetune.library.saving import public_name
from cuetune.metrics.continual import matrix, summary
from cuetune.support.files import atomic_file
from cuetune.support.locking import locked
from cuetune.support.named_paths import possible
from cuetune.support.ownership import begins_with
from cuetune.support.strict_json import Limits, parse_json
from cuetune.support.tensor_file import read_sealed, write_sealed

STATE = "stream.safetensors"
STATE_HEAD = re.compile(rb'.{8}\{"__metadata__":\{("sha256":"[0-9a-f]{64}",)?"stream":"', re.DOTALL)
FORMAT = 1
# What earlier saved streams call otherwise: settings, options of methods, and values of those.
RENAMED = {"options": "prompt_options", "head_start": "head_init", "read_layer": "head_layer", "clip": "max_grad_norm"}
RENAMED_OPTIONS = {"pull": "key_loss_weight", "fixed": "freeze_head"}
RENAMED_VALUES = {"head": {"sums": "ridge"}}
REMEDY = "copy it again, or start over with --restart"
LIMITS = Limits(nan=True)  # a loss that is not finite is what was measured


class TaskOfStream(Shape):
    """The shape of a saved `LearnedTask`."""

    model_config = ConfigDict(allow_inf_nan=True)
    name: str
    labels: list[str]
    rows: Count
    held_out: Count
    report: dict[str, Any]

    @field_validator("report")
    @classmethod
    def _has_costs(cls, report: dict[str, Any]) -> dict[str, Any]:
        for name in ("seconds", "steps", "tokens", "trained"):
            if not isinstance(report.get(name), int | float):
                raise ValueError(f"{name} is no number")
        return report


class StreamFile(Shape):
    """The shape of the metadata of stream.safetensors."""

    format: Count
    method: str
    seed: int
    kind: str
    class_order: int | None
    settings: dict[str, Any]
    backbone: BackboneFile
    versions: dict[str, str] = Field(default_factory=dict)
    tasks: list[TaskOfStream]
    accuracies: list[list[float | None]]
    learner: dict[str, Any]

    @field_validator("method", mode="after")
    @classmethod
    def _todays_method(cls, method: str) -> str:
        return re.sub(r"-at-once$", "-joint", method)

    @field_validator("settings", mode="after")
    @classmethod
    def _todays_settings(cls, settings: dict[str, Any]) -> dict[str, Any]:
        settings = {RENAMED.get(name, name): value for name, value in settings.items()}
        return _todays_options(settings, "prompt_options")

    @field_validator("learner", mode="after")
    @classmethod
    def _todays_learner(cls, learner: dict[str, Any]) -> dict[str, Any]:
        return _todays_options(learner, "options")

    @field_validator("learner")
    @classmethod
    def _has_a_task(cls, learner: dict[str, Any]) -> dict[str, Any]:
        if learner.get("task"):
            TaskFile.model_validate(learner["task"])
        return learner


@dataclass(frozen=True)
class LearnedTask:
    """One task that was learned: how many rows it had, and what it took (`Learner.learn`)."""

    name: str
    labels: Sequence[str]
    rows: int
    held_out: int
    report: Mapping[str, Any]


@dataclass
class Learned:
    """Everything about a stream so far.

    method: its name in `LEARNERS`. seed: of the split and of all that is drawn. kind, class_order: as of the
    stream. settings: of every task's run, as they were given. accuracies: one row for each task learned, on the
    test rows of all tasks so far; None where these were gone. tensors, spec: the learner's state.
    """

    method: str
    seed: int
    kind: str
    class_order: int | None
    settings: Mapping[str, Any]
    backbone: BackboneIdentity
    versions: Mapping[str, str] = field(default_factory=dict)
    tasks: list[LearnedTask] = field(default_factory=list)
    accuracies: list[list[float | None]] = field(default_factory=list)
    tensors: Mapping[str, Tensor] = field(default_factory=dict, repr=False)
    spec: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def names(self) -> list[str]:
        """The tasks that were learned."""
        return [task.name for task in self.tasks]

    @property
    def task(self) -> Task:
        """How rows are read, and all labels. Raises CuetuneError before the first task."""
        if not self.spec.get("task"):
            raise CuetuneError("nothing was learned yet; learn a task first.")
        return Task.from_dict(self.spec["task"])

    @property
    def matrix(self) -> np.ndarray:
        """R (N, N), see `evaluation.continual`."""
        return matrix(self.accuracies)

    @property
    def scores(self) -> dict[str, float]:
        """A_N and the others by name; not a number where nothing was measured."""
        return summary(self.matrix) if self.accuracies else {}

    @property
    def cost(self) -> dict[str, float]:
        """What all tasks took together, how many numbers the last one trained, and the bytes that are kept."""
        total = {name: sum(float(task.report[name]) for task in self.tasks) for name in ("seconds", "steps", "tokens")}
        trained = max((float(task.report["trained"]) for task in self.tasks), default=0.0)
        kept = sum(value.numel() * value.element_size() for value in self.tensors.values())
        return {**total, "trained": trained, "stored_bytes": float(kept)}

    def save(self, folder: Path) -> Path:
        """Write the file, whole or not at all."""
        said = {name: getattr(self, name) for name in ("method", "seed", "kind", "class_order", "accuracies")}
        said |= {"format": FORMAT, "settings": dict(self.settings), "versions": dict(self.versions)}
        backbone = {**self.backbone.to_dict(), "name": public_name(self.backbone.name)}
        said |= {"backbone": backbone, "tasks": [asdict(task) for task in self.tasks], "learner": dict(self.spec)}
        path = folder / STATE
        check_own_state(folder)
        with locked(folder, inside=True, names=[STATE]) as held, held.replacing(), atomic_file(path, "wb") as stream:
            write_sealed(stream, path, self.tensors, {"stream": json.dumps(said, ensure_ascii=False)})
        return path

    @classmethod
    def load(cls, folder: str | Path) -> "Learned":
        """Read what `save` wrote. Raises CuetuneError naming the file for anything that it did not write."""
        path = Path(folder) / STATE
        if not path.is_file():
            raise CuetuneError(
                f"{folder}: no learned stream is there (no {STATE}); give what `cuetune learn --to` wrote."
            )
        tensors, metadata = read_sealed(path, ("stream",), REMEDY)
        said = parse_json(metadata["stream"], str(path), LIMITS, REMEDY)
        if isinstance(said, dict) and isinstance(said.get("format"), int) and said["format"] > FORMAT:
            raise CuetuneError(f"{path}: written by a newer cuetune; upgrade cuetune.")
        try:
            read = StreamFile.model_validate(said)
        except ValidationError as error:
            raise CuetuneError(f"{path}: cannot be read ({first_fault(error)}); {REMEDY}.") from error
        plain = read.model_dump(exclude={"format", "backbone", "tasks", "learner"})
        backbone = BackboneIdentity.from_dict(read.backbone.model_dump())
        tasks = [LearnedTask(**task.model_dump()) for task in read.tasks]
        return cls(**plain, backbone=backbone, tasks=tasks, spec=read.learner, tensors=tensors)


def _todays_options(holder: dict[str, Any], key: str) -> dict[str, Any]:
    """The same with the options of a method, which stand under `key`, by the names of today."""
    options = holder.get(key)
    if not isinstance(options, dict):
        return holder
    named = {RENAMED_OPTIONS.get(name, name): value for name, value in options.items()}
    for name, values in RENAMED_VALUES.items():
        if isinstance(value := named.get(name), str):
            named[name] = values.get(value, value)
    return {**holder, key: named}


def check_own_state(folder: Path) -> None:
    """Raise CuetuneError where a file is called as the state of a stream, and none of ours, not even one cut short."""
    path = folder / STATE
    if os.path.lexists(path) and not begins_with(path, STATE_HEAD):
        raise CuetuneError(f"{path}: is in the way, and cuetune did not write it; move it away or choose another --to.")


def is_learned(folder: str | Path) -> bool:
    """Whether a learned stream lies in this folder."""
    return (Path(possible(folder)) / STATE).is_file()
