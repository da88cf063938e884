"""One run of a comparison: the rows it may see, and what it came to."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from cuetune.answers.prediction import Prediction
from cuetune.cost.energy import EnergyMeter
from cuetune.data.row import Example
from cuetune.data.task import Task
from cuetune.tuning.settings import Settings

LATENCY_ROWS = 12  # answered one by one


@dataclass(frozen=True)
class Rows:
    """What one run may see: rows to learn from, rows to choose on, and rows it is scored on."""

    train: Sequence[Example]
    validation: Sequence[Example]
    test: Sequence[Example]


@dataclass(frozen=True)
class Job:
    """One run: a method on these rows.

    factor: of the method's usual learning rate. trial: only to choose the learning rate, so nothing is scored on the
    test rows. watts: see `EnergyMeter`.
    """

    backbone: Any
    task: Task
    rows: Rows
    settings: Settings
    factor: float = 1.0
    trial: bool = False
    watts: float | None = None


@dataclass
class Outcome:
    """What a run came to. validation: what choices are made by; test scores are only reported.

    seconds, flops, kwh: of tuning or of choosing, everything that is done once per task. energy_kind, energy_note: how
    the energy was found (`EnergyMeter`). stored_bytes: per task. latency: seconds for one row alone, the median.
    curve: validation scores by step. stopped: "early", or empty when the budget was used up.
    """

    scores: dict[str, float] = field(default_factory=dict)
    validation: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    flops: float = 0.0
    kwh: float = 0.0
    energy_kind: str = ""
    energy_note: str = ""
    peak_memory_bytes: int = 0
    trained: int = 0
    stored_bytes: int = 0
    latency: float = 0.0
    rate: float | None = None
    steps: int = 0
    best_step: int = 0
    stopped: str = ""
    note: str = ""
    curve: list[dict[str, float]] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class Curve:
    """A reporter that keeps the validation scores of a run, step by step."""

    def __init__(self) -> None:
        self.points: list[dict[str, float]] = []

    def start(self, total: int, done: int) -> None:
        pass

    def step(self, step: int, values: Mapping[str, float]) -> None:
        pass

    def validation(self, step: int, scores: Mapping[str, float], best: bool) -> None:
        self.points.append({"step": step, **scores})

    def stop(self) -> None:
        pass


Answer = Callable[[Sequence[Example]], list[Prediction]]


def scored(outcome: Outcome, job: Job, answer: Answer) -> Outcome:
    """Fill in the test scores and the time for one row."""
    if job.trial:
        return outcome
    outcome.scores = scores_of(job.task, answer(job.rows.test), job.rows.test)
    times = []
    for example in job.rows.test[:LATENCY_ROWS]:
        started = time.perf_counter()
        answer([example])
        times.append(time.perf_counter() - started)
    outcome.latency = statistics.median(times)
    return outcome


def scores_of(task: Task, predictions: Sequence[Prediction], examples: Sequence[Example]) -> dict[str, float]:
    """The values of a task's scores, the one that methods are compared by first."""
    found = task.answers.measured(predictions, [example.label for example in examples])
    return {name: score.value for name, score in found.scores.items()}


def measured(outcome: Outcome, meter: EnergyMeter) -> Outcome:
    """Fill in what the meter read."""
    outcome.kwh, outcome.energy_kind, outcome.energy_note = meter.kwh, meter.kind, meter.note
    return outcome
