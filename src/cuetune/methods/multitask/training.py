"""Multitask prompt tuning, the published programme: teachers, then one shared prompt distilled from them (MPT 2023).

1. A teacher for every source task: a soft prompt of its own (or prompts that are there already).
2. P* and u_k, v_k of all tasks together, on batches that mix tasks, with the task loss and the teachers' answers and
   states to follow.
3. Every task folded into a soft prompt and scored beside its teacher and the task said in words.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cuetune.backbones.loading import DEFAULT
from cuetune.backbones.registry import text_backbone
from cuetune.backbones.text import TextBackbone
from cuetune.data.splits import fingerprint
from cuetune.data.suite import Suite
from cuetune.errors import CuetuneError
from cuetune.evaluation.evaluate import evaluate_sources, in_words
from cuetune.library.digest import digest
from cuetune.library.saving import check_replaceable as check_saved_prompt
from cuetune.library.tuned import TunedPrompt
from cuetune.library.universal import RECORD, UniversalPrompt, check_replaceable, universal_for
from cuetune.methods.initial_prompt import first_prompt
from cuetune.methods.multitask.distillation import Distillation
from cuetune.methods.multitask.programme import Programme
from cuetune.methods.multitask.sampling import StochasticTasks, probabilities
from cuetune.methods.multitask.sources import Source, read_sources
from cuetune.prompts import MultitaskPrompt, SoftPrompt
from cuetune.prompts.initial import initial_embeddings
from cuetune.support import console
from cuetune.support.locking import alone
from cuetune.tuning.batches import visited
from cuetune.tuning.checkpoint import NAME as CHECKPOINT
from cuetune.tuning.data import sizes
from cuetune.tuning.loop import Outcome, Tuner
from cuetune.tuning.objectives import Objective, cross_entropy
from cuetune.tuning.progress import Bar, JsonLog, Reporter
from cuetune.tuning.recording import record
from cuetune.tuning.run_folder import RUN, may_replace, run_folder_of, unfinished_run
from cuetune.tuning.running import run as run_once
from cuetune.tuning.settings import Settings

COMMON = "Read the text and choose the label that fits it best."  # what P* starts from, unless told otherwise


@dataclass(frozen=True)
class _Run:
    """What all stages share."""

    backbone: TextBackbone
    sources: Sequence[Source]
    settings: Settings
    programme: Programme
    folder: Path
    log: Callable[[str], None]
    reporters: Sequence[Reporter] | None
    start: str | Path | None = None

    def watching(self, doing: str, folder: Path) -> list[Reporter]:
        """A bar, unless others were given, and a log."""
        return [*([Bar(doing)] if self.reporters is None else self.reporters), JsonLog(folder)]


@alone("to")
def train_multitask(
    tasks: str | Path | Suite | Mapping[str, Any],
    to: str | Path,
    *,
    model: str | TextBackbone | None = None,
    settings: Settings | None = None,
    programme: Programme | None = None,
    teachers: str | Path | None = None,
    start: str | Path | None = None,
    restart: bool = False,
    overwrite: bool = False,
    log: Callable[[str], None] = console.say,
    reporters: Sequence[Reporter] | None = None,
    model_options: dict[str, Any] | None = None,
) -> UniversalPrompt:
    """Train one prompt that several tasks share, and save it with every task of it to the folder `to`.

    tasks: a TASKS.yaml, or a mapping name -> data (`read_sources`). model: else what the file names, else the default.
    settings: of the shared run; its batches mix tasks. teachers: folder with a saved soft prompt for each task, by
    name; else they are tuned first. start: a universal prompt to go on from, whose P* and mean u and v all tasks begin
    with (multi-target transfer, section 3.3). A run that was stopped goes on when called again: teachers that are
    finished stay. Raises CuetuneError for anything the user can mend.
    """
    target, settings, programme = Path(to), settings or Settings(batch_size=32), programme or Programme()
    folder = run_folder_of(target)
    overwrite = may_replace(target, folder, overwrite, check_replaceable, RECORD)
    probabilities([1], programme.mixing)  # an unknown one is refused before anything is computed
    named, sources = read_sources(tasks, settings)
    if len(sources) < 2:
        raise CuetuneError("one task shares with none; give at least two, or use `cuetune tune`.")
    for source in sources:
        log(f"{source.name}: {len(source.data.task.labels)} labels, {sizes(source.data.splits)}")
    backbone = text_backbone(model or named or DEFAULT, **(model_options or {}))
    run = _Run(backbone, sources, settings, programme, folder, log, reporters, start)
    if restart:
        _forget(run)
    taught = _teachers(run, teachers) if programme.distil else {}
    whole, outcome = _share(run, taught)
    universal = _folded(run, whole, outcome, taught)
    universal.save(target, overwrite=overwrite)
    if outcome.progress.stopped == "interrupted":
        raise KeyboardInterrupt  # what is there so far is saved, and the checkpoint stays
    _forget(run, teachers=False)  # the last of all: until then the same command goes on
    return universal


def _forget(run: _Run, teachers: bool = True) -> None:
    for checkpoint in [*run.folder.glob(f"teachers/*/{CHECKPOINT}"), run.folder / CHECKPOINT]:
        checkpoint.unlink(missing_ok=True)
    if teachers:
        for saved in run.folder.glob("teachers/*/prompt"):
            check_saved_prompt(saved)
            for path in saved.iterdir():
                path.unlink()


def _teachers(run: _Run, given: str | Path | None) -> dict[str, TunedPrompt]:
    """A saved soft prompt for every task: from a folder, from an earlier run, or tuned now."""
    if given is not None:
        return {source.name: _given(run, source, Path(given) / source.name) for source in run.sources}
    return {source.name: _teacher(run, source) for source in run.sources}


def _given(run: _Run, source: Source, folder: Path) -> TunedPrompt:
    saved = TunedPrompt.load(folder)
    saved.backbone.check(run.backbone.identity, str(folder))
    if saved.task.labels != source.data.task.labels:
        raise CuetuneError(
            f"{folder}: has the labels {', '.join(saved.task.labels)}, but task {source.name!r} has "
            f"{', '.join(source.data.task.labels)}; give a teacher of the same task."
        )
    return saved


def _teacher(run: _Run, source: Source) -> TunedPrompt:
    """One teacher, kept as soon as it is finished, so that a stopped run does not tune it again."""
    RUN.claim(run.folder)
    place = run.folder / "teachers" / source.name
    settings = run.settings.model_copy(update={"steps": run.programme.teacher_steps, "batch_size": 16})
    prompt = first_prompt(run.backbone, source.asked, "soft", 0, settings)
    settings = settings.resolved(run.backbone, len(source.data.splits.train), prompt)
    if (finished := _finished(place / "prompt", source, settings)) is not None:
        run.log(f"{source.name}: its teacher is there already")
        return finished
    watching = run.watching(f"teacher of {source.name}", place)
    outcome = run_once(run.backbone, prompt, source.asked, settings, place, watching, False)
    if outcome.progress.stopped == "interrupted":
        raise KeyboardInterrupt
    made = record(run.backbone, prompt, source.data, outcome)
    tuned = TunedPrompt(prompt, source.asked.task, run.backbone.identity, made)
    tuned.save(place / "prompt", overwrite=True)
    run.log(f"{source.name}: teacher's validation {_shown(outcome.progress.best_scores)}")
    return tuned


def _shown(scores: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.3f}" for name, value in scores.items())


def _finished(folder: Path, source: Source, settings: Settings) -> TunedPrompt | None:
    """The teacher of an earlier run, if it was tuned on the same rows in the same way."""
    if not folder.is_dir() or not any(folder.iterdir()):
        return None
    saved = TunedPrompt.load(folder)
    kept = {key: value for key, value in saved.record.get("settings", {}).items() if key != "dtype"}
    same_rows = saved.record.get("data", {}).get("fingerprint") == source.data.fingerprint
    same_rows = same_rows and saved.task == source.asked.task
    return saved if same_rows and kept == settings.model_dump(mode="json") else None


def _share(run: _Run, taught: Mapping[str, TunedPrompt]) -> tuple[MultitaskPrompt, Outcome]:
    """The shared prompt and all tasks' own numbers, tuned together."""
    backbone, programme, sources = run.backbone, run.programme, run.sources
    whole = _start(run)
    rows = [len(source.data.splits.train) for source in sources]
    settings = run.settings.resolved(backbone, sum(rows), whole)
    batches = StochasticTasks(
        rows, settings.batch_size, mixing=programme.mixing, stochastic=programme.stochastic, seed=settings.seed
    )
    objectives: list[Objective] = [cross_entropy]
    # What the run depends on beside its settings: a stopped one must not go on with other teachers or another start.
    known = [source.data.fingerprint for source in sources] + [digest(each) for each in taught.values()]
    known += [programme.model_dump_json()] + ([UniversalPrompt.load(run.start).digest] if run.start else [])
    if taught:
        guides = [taught[source.name].prompt.to(backbone.device) for source in sources]
        terms = {"answers": programme.answers, "states": programme.states}
        objectives.append(Distillation(guides, programme.weight, folder=run.folder, **terms))
        seen = sum(map(len, visited(batches, range(settings.steps or 0), len(sources))))
        run.log(f"the teachers answer {seen:,} rows first, once")
    run.log(
        f"shared: tuning {whole.n_trained:,} numbers for {len(sources)} tasks ({whole.n_trained // len(sources):,} "
        f"each): {settings.steps} steps of {settings.batch_size} rows, learning rate {settings.learning_rate:g}"
    )
    tuner = Tuner(
        backbone,
        whole,
        [source.task_data for source in sources],
        settings,
        folder=run.folder,
        reporters=run.watching("shared prompt", run.folder),
        objectives=objectives,
        batches=batches,
        data_key=str(known),
    )
    return whole, tuner.run_counted()


def _start(run: _Run) -> MultitaskPrompt:
    """All tasks on the same words, or on what another universal prompt learned."""
    names = [source.name for source in run.sources]
    if run.start is not None:
        return universal_for(run.start, run.backbone).prompt.adapted(names)
    settings, task = run.settings, run.sources[0].data.task
    words = initial_embeddings(
        run.backbone,
        task,
        init=settings.init,
        length=settings.length,
        text=settings.init_text or COMMON,
        seed=settings.seed,
    )
    programme = run.programme
    return MultitaskPrompt(words, names, rank=programme.rank, noise=programme.noise, seed=settings.seed)


def _folded(run: _Run, whole: MultitaskPrompt, outcome: Outcome, taught: Mapping[str, TunedPrompt]) -> UniversalPrompt:
    """Every task as a prompt of its own, scored, and the whole."""
    made = record(run.backbone, whole, run.sources[0].data, outcome)
    made = {**made, "data": _all_data(run.sources), "programme": run.programme.model_dump()}
    made |= {"run": key} if (key := unfinished_run(run.folder)) is not None else {}
    tasks = {
        source.name: _one(run, source, whole.of_task(number).fold(), made, taught.get(source.name))
        for number, source in enumerate(run.sources)
    }
    return UniversalPrompt(whole, run.backbone.identity, made, tasks, taught)


def _all_data(sources: Sequence[Source]) -> dict[str, Any]:
    parts = ("train", "validation", "test")
    rows = {part: sum(len(getattr(source.data.splits, part)) for source in sources) for part in parts}
    every = [example for source in sources for part in parts for example in getattr(source.data.splits, part)]
    return {"source": ", ".join(source.name for source in sources), "fingerprint": fingerprint(every), "rows": rows}


def _one(
    run: _Run, source: Source, prompt: SoftPrompt, made: Mapping[str, Any], teacher: TunedPrompt | None
) -> TunedPrompt:
    """One task of the universal prompt: folded, with its scores beside its teacher and the task in words."""
    kept = record(run.backbone, prompt, source.data, None)
    kept |= {key: made[key] for key in ("settings", "seed", "stopped", "best_step", "validation_scores")}
    if teacher is not None:
        kept["lineage"] = [{"relation": "distilled from", "name": source.name, "digest": digest(teacher)}]
    tuned = TunedPrompt(prompt, source.asked.task, run.backbone.identity, kept)
    rows = source.data.splits.test
    if not rows:
        return tuned
    run.log(f"{source.name}: scoring {len(rows)} held-out rows")
    asked = {"tuned": tuned.predictor(run.backbone)} | in_words(run.backbone, source.data.task, (), 0)
    if teacher is not None:
        asked["teacher"] = teacher.predictor(run.backbone)
    scores = evaluate_sources(source.data.task, asked, rows)
    return replace(tuned, record={**kept, "scores": scores.scores(), "scored_rows": scores.rows})
