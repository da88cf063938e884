"""`learn`: the tasks of a stream one after another, each measured on all so far. What is kept holds no example.

After every task, and again after it was measured, the state is written as one file. Within a task the loop keeps its
own checkpoint. So a run that is stopped anywhere, even by kill -9, goes on to the same numbers when called again.
"""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cuetune.backbones.registry import modality_of
from cuetune.data.skip_report import Skipped
from cuetune.data.sources import Source
from cuetune.errors import CuetuneError
from cuetune.methods.continual.learned import STATE, Learned, LearnedTask, check_own_state
from cuetune.methods.continual.learner import Learner
from cuetune.methods.continual.loading import Model, ReadyBackbone, Shared, backbone_for
from cuetune.methods.continual.reading import Stream, StreamTask, read_stream
from cuetune.methods.continual.registry import LEARNERS, new_learner
from cuetune.methods.continual.weights import joint_data
from cuetune.support import console
from cuetune.support.locking import alone
from cuetune.tuning.progress import Bar, JsonLog, Reporter
from cuetune.tuning.recording import versions
from cuetune.tuning.run_folder import RUN
from cuetune.tuning.runs.augmentation import augmentation_for
from cuetune.tuning.settings import Settings

DEFAULT_METHOD = "coda"
JOINT = "-joint"  # behind a method's name: all tasks as one, the upper bound
ROWS_AT_ONCE = 256  # scored together
RUNS, ALL = "run", "all"


@alone("to", inside=True, names=(STATE,))
def learn(
    stream: str | Path | Stream,
    to: str | Path,
    *,
    method: str = DEFAULT_METHOD,
    tasks: int | None = None,
    model: Model | None = None,
    seed: int = 0,
    class_order: int | None = None,
    settings: Settings | None = None,
    method_options: Mapping[str, Any] | None = None,
    restart: bool = False,
    skip_unreadable: bool = False,
    files: Source | None = None,
    encoding: str = "utf-8",
    log: Callable[[str], None] = console.say,
    reporters: Sequence[Reporter] | None = None,
    model_options: dict[str, Any] | None = None,
    shared: Shared | None = None,
) -> Learned:
    """Learn the tasks of a stream in their order, and keep what was learned in the folder `to`.

    stream: a STREAM.yaml (docs/streams.md). method: a name of `LEARNERS`; with "-joint" behind it, it learns
    all tasks as one, which is what forgetting is held against. tasks: learn at most so many more; None all that are
    left. model: else what the file names, else the default of its rows. seed: of the split and of all that is
    drawn. class_order: of a stream whose labels are dealt into tasks, else the file's. settings: of every task's run.
    method_options: of this method, by name. files, encoding: as of `read_stream`.
    restart: start over instead of going on with what is in `to`. skip_unreadable: leave rows out that have no label, or
    no text. shared: with other runs (`learn_many`).
    A task that was learned is not learned again, and its data need not be there any more: then it is not measured.
    Raises CuetuneError for anything the user can mend, among it a folder that holds another stream.
    """
    folder, name = Path(to), method.removesuffix(JOINT)
    if name not in LEARNERS:
        raise CuetuneError(f"unknown method {method!r}; choose one of {', '.join(sorted(LEARNERS))}.")
    check_own_state(folder)
    RUN.check(folder / RUNS)
    kept = None if restart or not (folder / STATE).exists() else Learned.load(folder)
    skipped, finished = Skipped() if skip_unreadable else None, kept.names if kept else ()
    read = read_stream(
        stream, seed=seed, class_order=class_order, finished=finished, skipped=skipped, files=files, encoding=encoding
    )
    for line in skipped.lines() if skipped else ():
        log(line)
    settings = with_options(settings, options_by_method([method], method_options or {})[method])
    settings = settings or Settings(**(kept.settings if kept else {}))
    if kept is not None:
        _check_same(kept, folder, method, seed, class_order, settings, read)
    whole = _Stage(read, folder, method, log, reporters)
    known = kept.backbone.name if kept else None
    shared = shared or Shared()
    backbone = shared.backbone = shared.backbone or backbone_for(model, read, known, model_options or {})
    augmentation_for(modality_of(backbone), settings.augment, seed)  # raises for rows that nothing is known to do to
    learned = kept or _nothing(read, method, seed, class_order, settings, backbone)
    learner = new_learner(name, backbone, settings, seed)
    shared.lend(learner)
    learner.kind = read.kind
    if restart:
        _clear(folder / RUNS)
    if learned.tasks:
        learned.backbone.check(backbone.identity, str(folder / STATE))
        learner.restore(learned.tensors, learned.spec)
    whole.go_on(learner, learned, tasks)
    return learned


def options_by_method(methods: Sequence[str], options: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """For each method those of these options that it has.

    Raises CuetuneError for an option that none of them has; a method that is unknown is left to `learn`.
    """
    known = {name: LEARNERS.get(name.removesuffix(JOINT)) for name in methods}
    has = {name: {} if kind is None else kind.defaults for name, kind in known.items()}
    for option in options:
        if all(known.values()) and not any(option in each for each in has.values()):
            listed = "; ".join(f"{name}: {', '.join(each) or 'none'}" for name, each in has.items())
            raise CuetuneError(f"--method-option {option}: no method here has it ({listed}).")
    return {name: {key: value for key, value in options.items() if key in each} for name, each in has.items()}


def with_options(settings: Settings | None, options: Mapping[str, Any]) -> Settings | None:
    """Settings with the options of a method, where there are any."""
    return (settings or Settings()).model_copy(update={"prompt_options": dict(options)}) if options else settings


def learn_many(
    stream: str | Path,
    to: str | Path,
    methods: Sequence[str],
    *,
    settings: Settings | Mapping[str, Settings | None] | None = None,
    method_options: Mapping[str, Any] | None = None,
    log: Callable[[str], None] = console.say,
    **how: Any,
) -> dict[str, Learned]:
    """The same stream by several methods, each in a folder of its own in `to`.

    settings: of all, or by method. method_options: each method takes those that it has. how: as of `learn`. The model
    is loaded once, and its queries are computed once.
    """
    shared, found = Shared(), {}
    by_method: dict[str, Settings | None]
    by_method = dict(settings) if isinstance(settings, Mapping) else dict.fromkeys(methods, settings)
    for method, options in options_by_method(methods, method_options or {}).items():
        by_method[method] = with_options(by_method.get(method), options)
    for method in dict.fromkeys(methods):
        log(f"{method}:")
        found[method] = learn(
            stream, Path(to) / method, method=method, settings=by_method.get(method), log=log, shared=shared, **how
        )
    return found


def _nothing(
    stream: Stream,
    method: str,
    seed: int,
    class_order: int | None,
    settings: Settings,
    backbone: ReadyBackbone,
) -> Learned:
    """The state before the first task."""
    given = settings.model_dump(exclude_defaults=True)
    return Learned(method, seed, stream.kind, class_order, given, backbone.identity, versions())


class _Stage:
    """A stream on its way: which tasks there are, where the state goes, and who is told."""

    def __init__(
        self,
        stream: Stream,
        folder: Path,
        method: str,
        log: Callable[[str], None],
        reporters: Sequence[Reporter] | None,
    ) -> None:
        self.stream, self.folder, self.log, self.reporters = stream, folder, log, reporters
        self.joint = method.endswith(JOINT)
        self.started = time.perf_counter()

    def go_on(self, learner: Learner, learned: Learned, most: int | None) -> None:
        """Measure what was learned and not measured, then learn what is left, at most `most` tasks."""
        names, count = learned.names, len(self.stream.tasks)
        if names:
            self.log(f"going on after {len(names)} of {count} tasks ({names[-1]})")
        self._sweep(f"task-{len(names) + 1}")
        self._measure(learner, learned)
        if self.joint:
            if not names:
                self._learn_jointly(learner, learned)
            return
        last = count if most is None else min(count, len(names) + most)
        for number in range(len(names), last):
            self._learn(learner, learned, number)
            self._measure(learner, learned)
            self._left(number + 1 - len(names), last - number - 1)

    def _learn(self, learner: Learner, learned: Learned, number: int) -> None:
        task, run = self.stream.tasks[number], self._run(f"task-{number + 1}")
        what = f"task {number + 1} of {len(self.stream.tasks)}"
        labels = ", ".join(task.task.labels[:6]) + (", …" if len(task.task.labels) > 6 else "")
        choosing = f"{len(task.validation):,} to choose on, " if task.validation else ""
        rows = f"{len(task.train):,} rows to learn, {choosing}{len(task.test):,} held out"
        self.log(f"{what}: {task.name} ({labels}), {rows}")
        report = learner.learn(task.data, self._watching(what, run), run)
        learned.tasks.append(_task(task, report))
        self._keep(learner, learned)

    def _learn_jointly(self, learner: Learner, learned: Learned) -> None:
        run, tasks = self._run(ALL), self.stream.tasks
        data = joint_data([task.data for task in tasks])
        self.log(f"{len(tasks)} tasks at once: {len(data.task.labels)} labels, {len(data.train):,} rows to learn")
        report = learner.learn(data, self._watching("all tasks", run), run)
        learned.tasks += [
            _task(task, report if number == 0 else dict.fromkeys(report, 0)) for number, task in enumerate(tasks)
        ]
        learned.accuracies += [[None] * (number + 1) for number in range(len(tasks) - 1)]
        self._keep(learner, learned)
        self._measure(learner, learned)

    def _watching(self, what: str, run: Path) -> list[Reporter]:
        """A bar, unless others were given, and a log."""
        return [*([Bar(what)] if self.reporters is None else self.reporters), JsonLog(run)]

    def _keep(self, learner: Learner, learned: Learned) -> None:
        """Write the state; checkpoints of the task are then of no more use."""
        learned.tensors, learned.spec = learner.state()
        learned.save(self.folder)
        _clear(self.folder / RUNS)

    def _measure(self, learner: Learner, learned: Learned) -> None:
        """The accuracy on every task so far, where that is not known yet."""
        if len(learned.accuracies) >= len(learned.tasks):
            return
        so_far = self.stream.tasks[: len(learned.tasks)]
        row = [None if task.gone else accuracy(learner, task) for task in so_far]
        learned.accuracies.append(row)
        learned.save(self.folder)
        shown = ", ".join(
            f"{task.name} {'–' if each is None else f'{each:.3f}'}" for task, each in zip(so_far, row, strict=True)
        )
        self.log(f"  accuracy on held-out rows: {shown}; mean {learned.scores['final_accuracy']:.3f}")

    def _sweep(self, ahead: str) -> None:
        """Remove checkpoints of tasks that are learned; a kill may have left them."""
        _clear(self.folder / RUNS, ahead)

    def _run(self, name: str) -> Path:
        """The folder of one task's run."""
        RUN.claim(self.folder / RUNS)
        return self.folder / RUNS / name

    def _left(self, done: int, left: int) -> None:
        if left:
            minutes = (time.perf_counter() - self.started) / done * left / 60
            about = f", about {minutes:.0f} min" if minutes >= 1 else ""
            self.log(f"  {left} task{'s' if left > 1 else ''} left{about}")


def _clear(runs: Path, ahead: str = "") -> None:
    """Remove the folders of tasks' runs but for the one ahead; whatever else lies there stays."""
    for run in runs.iterdir() if runs.is_dir() else ():
        if run.name != ahead and re.fullmatch(rf"task-\d+|{ALL}", run.name):
            RUN.clear(run)
    RUN.clear(runs)


def _task(task: StreamTask, report: Any) -> LearnedTask:
    return LearnedTask(task.name, task.task.labels, len(task.train), len(task.test), report)


def accuracy(learner: Learner, task: StreamTask) -> float:
    """The share of a task's test rows that get their label among all labels so far; which task it is is not told."""
    right = 0
    for first in range(0, len(task.test), ROWS_AT_ONCE):
        rows = task.test[first : first + ROWS_AT_ONCE]
        best = learner.logits(rows).argmax(dim=-1).tolist()
        right += sum(learner.labels[number] == row.label for number, row in zip(best, rows, strict=True))
    return right / len(task.test)


def _check_same(
    kept: Learned, folder: Path, method: str, seed: int, class_order: int | None, settings: Settings, stream: Stream
) -> None:
    """Raise CuetuneError unless what is kept in the folder is the beginning of this stream, learned the same way."""
    given: dict[str, tuple[Any, Any]] = {
        "method": (kept.method, method),
        "seed": (kept.seed, seed),
        "class order": (kept.class_order, class_order),
        "settings": (kept.settings, settings.model_dump(exclude_defaults=True)),
    }
    for what, (mine, asked) in given.items():
        if mine != asked:
            raise CuetuneError(
                f"{folder / STATE}: was begun with {what} {mine}, not {asked}; repeat that command to go on with it, "
                "choose another --to, or start over with --restart."
            )
    for number, task in enumerate(kept.tasks):
        now = stream.tasks[number] if number < len(stream.tasks) else None
        if now is None or now.name != task.name or not (now.gone or set(now.task.labels) == set(task.labels)):
            found = f"{now.name!r} ({', '.join(now.task.labels[:6])})" if now else "nothing"
            raise CuetuneError(
                f"{folder / STATE}: task {number + 1} was {task.name!r} ({', '.join(task.labels[:6])}), but the stream "
                f"has {found} there; tasks are only added at the end. Choose another --to, or start over with "
                "--restart."
            )
