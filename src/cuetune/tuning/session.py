"""`tune`: from the user's data to a saved prompt with its scores. The same in Python and on the command line."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cuetune.backbones.loading import DEFAULT, load_backbone
from cuetune.backbones.text import TextBackbone
from cuetune.errors import CuetuneError
from cuetune.evaluation.evaluate import Evaluation, Source, evaluate_sources, in_words, own_name
from cuetune.library.saving import check_replaceable
from cuetune.library.tuned import TunedPrompt
from cuetune.methods.wording import WORDINGS
from cuetune.prompts.base import Prompt
from cuetune.prompts.building import METHODS
from cuetune.prompts.words import instructed
from cuetune.tasks.inference import describe
from cuetune.tasks.task import Task
from cuetune.tuning.beginning import ancestor, first_prompt
from cuetune.tuning.checkpoint import NAME as CHECKPOINT
from cuetune.tuning.data import Data, few_rows, prepare, sizes
from cuetune.tuning.loop import Outcome, Tuner
from cuetune.tuning.progress import Bar, JsonLog, Reporter, TensorBoard
from cuetune.tuning.recording import record
from cuetune.tuning.settings import Settings
from cuetune.tuning.task_run import TaskData


def tune(
    data: Any,
    to: str | Path,
    *,
    validation: Any = None,
    test: Any = None,
    model: str | TextBackbone = DEFAULT,
    prompt: str = "soft",
    start: str | Path | None = None,
    shots: int = 8,
    rows: int | None = None,
    drawn: int = 0,
    settings: Settings | None = None,
    task: Task | None = None,
    baselines: bool = True,
    fresh: bool = False,
    overwrite: bool = False,
    tensorboard: bool = False,
    say: Any = print,
    reporters: Sequence[Reporter] | None = None,
    model_options: dict[str, Any] | None = None,
    **task_options: Any,
) -> TunedPrompt:
    """Tune a prompt on `data`, score it beside the same task said in words, and save it to the folder `to`.

    data: a file, folder, name, DataFrame or list of dicts (see `read_rows`); validation, test: the same, or None to
    set parts of `data` aside. prompt: one of `prompts.building.METHODS` ("soft", "prefix", "late", …); "hard"
    (instruction and `shots` demonstrations), "calibrated" (the same, calibrated) or "nearest" (each row's own `shots`),
    in which nothing is tuned; or "soft-from-hard" (starts as exactly that hard prompt). start: folder of a saved prompt
    whose virtual tokens or words this one begins from, or which "calibrated" calibrates; "multitask" starts from a
    universal prompt (`methods.multitask`). rows: how many labelled rows to learn from, drawn label by label (few-shot
    tuning; `drawn` numbers the draw); then none are spent on validation, and the last step is kept. task: a `Task`, or
    None to infer it with `task_options` (text, label, template, labels, label_words, instruction, columns, max_tokens,
    generate). A run that was stopped goes on when called again; fresh=True starts over. Raises CuetuneError for
    anything the user can mend.
    """
    target = Path(to)
    if target.exists() and not overwrite:
        raise CuetuneError(f"{target}: exists already; choose another --to, or pass --overwrite.")
    check_replaceable(target)
    settings = for_method(prompt, settings or Settings())
    prepared = prepare(data, validation, test, task, settings, **task_options)
    if rows is not None:
        prepared = few_rows(prepared, rows, drawn, keep_validation=validation is not None)
    for line in describe(prepared.task, prepared.splits.train):
        say(line)
    say(sizes(prepared.splits))
    backbone = model if isinstance(model, TextBackbone) else load_backbone(model, **(model_options or {}))
    started = first_prompt(backbone, prepared, prompt, shots, settings, start)
    # What tells tasks apart to a shared prompt is the instruction at the beginning of every row.
    asked = replace(prepared, task=instructed(prepared.task)) if prompt == "multitask" else prepared
    run_folder = target.with_name(target.name + ".run")
    outcome = None
    if prompt in WORDINGS:
        say(f"{prompt}: {started.described()}; nothing is tuned")
    else:
        resolved = settings.resolved(backbone, len(prepared.splits.train), started)
        resolved = resolved.model_copy(update={"length": started.length})
        say(_settings_line(prompt, resolved, started, backbone))
        watching: list[Reporter] = [Bar()] if reporters is None else list(reporters)
        watching.append(JsonLog(run_folder))
        if tensorboard:
            watching.append(TensorBoard(run_folder))
        outcome = run(backbone, started, asked, resolved, run_folder, watching, fresh)
    # Saved before it is scored: whatever goes wrong from here on, the run was not in vain.
    made = {**record(backbone, started, prepared, outcome), "start": prompt}
    if start is not None:
        made["lineage"] = [ancestor(start)]
    started = started.fold()
    tuned = TunedPrompt(started, asked.task, backbone.identity, made, head=outcome.head if outcome else None)
    tuned.save(target, overwrite=overwrite)
    if outcome and outcome.progress.stopped == "interrupted":
        return tuned  # the checkpoint stays: the same command goes on from it
    (run_folder / CHECKPOINT).unlink(missing_ok=True)
    if prepared.splits.test:
        evaluation = score(backbone, tuned, prepared, shots if baselines else -1)
        scores = {"scores": evaluation.scores(), "scored_rows": evaluation.rows}
        tuned = replace(tuned, record={**tuned.record, **scores})
        tuned.save(target, overwrite=True)
    return tuned


def for_method(method: str, settings: Settings) -> Settings:
    """Settings with the method's own readout, where none was chosen."""
    if settings.readout != "auto" or method not in METHODS:
        return settings
    return settings.model_copy(update={"readout": METHODS[method].readout})


def run(
    backbone: TextBackbone,
    prompt: Prompt,
    data: Data,
    settings: Settings,
    folder: Path,
    reporters: Sequence[Reporter],
    fresh: bool,
) -> Outcome:
    """The loop with its run folder; fresh=True forgets an earlier checkpoint there."""
    if fresh:
        (folder / CHECKPOINT).unlink(missing_ok=True)
    tuner = Tuner(
        backbone,
        prompt,
        TaskData(data.task, data.splits.train, data.splits.validation),
        settings,
        folder=folder,
        reporters=reporters,
        data_key=data.fingerprint,
    )
    return tuner.run()


def score(backbone: TextBackbone, tuned: TunedPrompt, data: Data, shots: int) -> Evaluation:
    """The prompt on the test rows, beside the same task in words unless `shots` is negative."""
    sources: dict[str, Source] = {own_name(tuned.prompt): tuned.predictor(backbone)}
    if shots >= 0:
        sources |= in_words(backbone, data.task, data.splits.train, shots)
    return evaluate_sources(data.task, sources, data.splits.test)


def _settings_line(method: str, settings: Settings, prompt: Prompt, backbone: TextBackbone) -> str:
    return (
        f"{method}: tuning {prompt.n_trained:,} numbers ({prompt.described()}, from {settings.init!r}) on "
        f"{backbone.identity.name} ({str(backbone.dtype).removeprefix('torch.')}, {backbone.device}): "
        f"{settings.steps} steps of {settings.batch_size} rows, learning rate {settings.learning_rate:g}, "
        f"seed {settings.seed}"
    )
