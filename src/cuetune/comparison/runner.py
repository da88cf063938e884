"""The runs of a comparison: methods × training sizes × seeds, each method with a learning rate of its own.

Every run is kept as a small JSON file the moment it ends, so a comparison that was stopped goes on where it was.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cuetune.backbones.base import Backbone
from cuetune.backbones.registry import modality_of
from cuetune.comparison.contenders import CONTENDERS
from cuetune.comparison.plan import Plan, Run
from cuetune.comparison.report import compared_by, title, write_json
from cuetune.comparison.run_result import Job, Rows
from cuetune.comparison.throughput import Pace
from cuetune.cost.meter import reset_peak, settled_memory, weight_bytes
from cuetune.data.sampling import draw
from cuetune.data.splits import Splits, fingerprint
from cuetune.data.task import Task
from cuetune.errors import CuetuneError
from cuetune.support import console
from cuetune.support.ownership import is_empty
from cuetune.support.strict_json import Limits, read_json
from cuetune.tuning.recording import device_name
from cuetune.tuning.settings import Settings

NAME = "comparison.json"  # what a folder's results have in common
FACTORS = (1 / 3, 1.0, 3.0)  # the learning rates that are tried first, relative to the usual one
MOST_TRIALS = 5  # while the best rate lies at the edge of those tried, the next one beyond it is tried too
VALIDATION_ROWS = 200  # at most; and no more than training rows, since labels are what is scarce


class Comparison:
    """Runs a plan and keeps every result in `folder`/runs.

    splits: rows to draw training rows from, to choose on, and to score on. log: told about every run as it ends.
    Raises CuetuneError for a task without labels, a size that the data cannot fill, or a folder of something else.
    """

    def __init__(
        self,
        backbone: Backbone,
        task: Task,
        splits: Splits,
        plan: Plan,
        folder: Path,
        log: Callable[[str], None] = console.say,
    ) -> None:
        if task.generates:
            raise CuetuneError("only tasks with labels can be compared; name them with --labels or --label.")
        if max(plan.sizes) > len(splits.train):
            raise CuetuneError(
                f"--sizes {max(plan.sizes)}: only {len(splits.train)} rows are left to train on, beside "
                f"{len(splits.validation)} to choose on and {len(splits.test)} to score on; choose smaller sizes."
            )
        if not splits.validation or not splits.test:
            raise CuetuneError("too few rows to set any aside to choose and to score on; give more data.")
        self.backbone, self.task, self.splits, self.plan, self.folder, self.log = (
            backbone, task, splits, plan, folder, log
        )  # fmt: skip
        self.contenders = CONTENDERS[modality_of(backbone).name]
        self.pace = Pace()
        self._check_folder()

    def about(self) -> dict[str, Any]:
        """What results must agree on to stand in one table."""
        free = {"methods", "sizes", "seeds", "modality"}
        free |= {name for name in ("head_layer", "augment") if getattr(self.plan, name) in (None, "none")}
        return {
            "data": fingerprint([*self.splits.train, *self.splits.validation, *self.splits.test]),
            "held-out rows": fingerprint(self.splits.test),
            "task": self.task.to_dict(),
            "model": self.backbone.identity.to_dict(),
            "dtype": str(self.backbone.dtype).removeprefix("torch."),
            "machine": device_name(self.backbone),
            **{name: value for name, value in asdict(self.plan).items() if name not in free},
        }

    def _check_folder(self) -> None:
        if not self.folder.exists():
            return
        if not (self.folder / NAME).is_file() and not is_empty(self.folder):
            raise CuetuneError(f"{self.folder}: exists already and is no comparison; choose another --to.")
        if (self.folder / NAME).is_file():
            kept, now = _read(self.folder / NAME), self.about()
            wrong = [f"{name.replace('_', ' ')}" for name in now if kept.get(name) != now[name]]
            if wrong:
                raise CuetuneError(
                    f"{self.folder}: holds a comparison with another {', '.join(wrong)}; repeat its command to go on "
                    "with it, or choose another --to."
                )

    @property
    def runs(self) -> list[Run]:
        """All runs in the order in which they are made: a whole table with the first seed first, then the next seed."""
        made = []
        for seed in range(self.plan.seeds):
            for size in self.plan.sizes:
                for method in self.plan.methods:
                    made.append(Run(method, size, seed) if self.contenders[method].uses_train else Run(method, 0, 0))
        return list(dict.fromkeys(made))

    @property
    def results(self) -> list[dict[str, Any]]:
        """What has been finished so far of this plan, trials left out."""
        found = [self._kept(run) for run in self.runs]
        return [result for result in found if result is not None]

    @property
    def trials(self) -> list[dict[str, Any]]:
        """The runs that chose the learning rates of this plan."""
        paths = sorted((self.folder / "runs").glob("*-rate-x*.json"))
        kept = [_read(path) for path in paths]
        return [each for each in kept if each["method"] in self.plan.methods and each["size"] in self.plan.sizes]

    def run(self) -> list[dict[str, Any]]:
        """Make the runs that are still to be made; returns all results."""
        if not (self.folder / NAME).exists():
            write_json(self.folder / NAME, self.about())
        runs = self.runs
        done = sum(self._path(run).exists() for run in runs)
        if done:
            self.log(f"going on: {done} of {len(runs)} runs are there")
        for result in (*self.results, *self.trials):
            self.pace.saw(result)
        for number, run in enumerate(runs):
            if not self._path(run).exists():
                self._finish(run, f"[{number + 1} of {len(runs)}]", runs)
        return self.results

    def _finish(self, run: Run, where: str, runs: Sequence[Run]) -> None:
        factor = self._best_factor(run) if self.plan.search and self.contenders[run.method].tuned else 1.0
        result = self._do(run, factor)
        left = self.pace.left([each for each in runs if not self._path(each).exists()], self.plan)
        rate = f"learning rate {result['rate']:.2g}, " if result["rate"] else ""
        rows = f", {run.size:,} rows, seed {run.seed}" if run.size else ""
        metric = compared_by(result["scores"])
        self.log(
            f"{where} {run.method}{rows}: {rate}{title(metric)} {result['scores'][metric]:.3f} "
            f"({result['wall']:.0f} s; {left} left)"
        )

    def _best_factor(self, run: Run) -> float:
        """The learning rate that did best on validation rows, on the first seed of this size."""
        tried: dict[float, tuple[float, float]] = {}
        waiting = list(FACTORS)
        while waiting:
            factor = waiting.pop(0)
            trial = Run(run.method, run.size, 0, factor)
            result = self._kept(trial) or self._do(trial, factor)
            tried[factor] = rank(result)
            best = max(tried, key=tried.__getitem__)
            if not waiting and best in (min(tried), max(tried)) and 1 < len(tried) < MOST_TRIALS:
                waiting.append(best * 3 if best == max(tried) else best / 3)
        return best

    def _do(self, run: Run, factor: float) -> dict[str, Any]:
        started, held = time.perf_counter(), settled_memory(self.backbone.device)
        reset_peak(self.backbone.device)
        trial = run.factor is not None
        job = Job(
            self.backbone, self.task, self._rows(run), self._settings(run), factor, trial=trial, watts=self.plan.watts
        )
        try:
            outcome = self.contenders[run.method].run(job)
        except CuetuneError as error:
            raise CuetuneError(f"{run.name}: {error}") from error
        outcome.peak_memory_bytes += weight_bytes(self.backbone) - held  # of the process, only what the run needs
        result = {**asdict(run), **outcome.to_dict(), "wall": time.perf_counter() - started}
        write_json(self._path(run), result)
        self.pace.saw(result)
        return result

    def _settings(self, run: Run) -> Settings:
        steps = self.plan.steps if run.factor is None else self.plan.trial_steps
        return Settings(
            steps=steps,
            batch_size=self.plan.batch_size,
            length=self.plan.length,
            evaluate_every=max(1, math.ceil(steps / (8 if run.factor is None else 2))),
            patience=4,
            validation_rows=VALIDATION_ROWS,
            seed=run.seed,
            head_layer=self.plan.head_layer,
            augment=self.plan.augment,
        )

    def _rows(self, run: Run) -> Rows:
        train = draw(self.splits.train, run.size or len(self.splits.train), run.seed, self.task)
        chosen = draw(self.splits.validation, min(len(train), VALIDATION_ROWS), run.seed, self.task)
        return Rows(train, chosen, self.splits.test)

    def _path(self, run: Run) -> Path:
        return self.folder / "runs" / f"{run.name}.json"

    def _kept(self, run: Run) -> dict[str, Any] | None:
        return _read(self._path(run)) if self._path(run).exists() else None


def _read(path: Path) -> dict[str, Any]:
    found: Any = read_json(path, Limits(nan=True), "remove it and start again")
    if not isinstance(found, dict):
        raise CuetuneError(f"{path}: cannot be read (a {type(found).__name__}); remove it and start again.")
    return found


def rank(result: dict[str, Any]) -> tuple[float, float]:
    """What learning rates are chosen by: validation accuracy, then the lower loss."""
    return result["validation"].get("accuracy", 0.0), -result["validation"].get("loss", math.inf)
