"""`tune`: from the user's data to a saved prompt with its scores. The same in Python and on the command line."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cuetune.answers import refuse
from cuetune.backbones.base import Backbone
from cuetune.data.hold_out import HoldOut
from cuetune.data.task import Task
from cuetune.data.task_inference import describe, head_proposal
from cuetune.evaluation.scoring import score
from cuetune.library.tuned import TunedPrompt
from cuetune.methods.initial_prompt import ancestor, first_prompt
from cuetune.methods.wording import WORDINGS
from cuetune.prompts.registry import usual_method
from cuetune.prompts.words import instructed
from cuetune.support import console
from cuetune.support.locking import alone
from cuetune.tuning.data import few_rows, prepare, sizes, thin_parts
from cuetune.tuning.deciding import decided
from cuetune.tuning.progress import Bar, JsonLog, Reporter, TensorBoard
from cuetune.tuning.recording import record
from cuetune.tuning.run_folder import CHECKPOINT, RUN, finished_run, may_replace, run_folder_of, unfinished_run
from cuetune.tuning.running import backbone_for_rows, for_method, settings_line, tuner_of
from cuetune.tuning.settings import Settings
from cuetune.tuning.text_task import readout_note, refuse_unknown_tokens, with_answer_length


@alone("to")
def tune(
    data: Any,
    to: str | Path,
    *,
    validation: Any = None,
    test: Any = None,
    model: str | Backbone | None = None,
    prompt: str | None = None,
    start: str | Path | None = None,
    shots: int = 8,
    train_rows: int | None = None,
    drawn: int = 0,
    settings: Settings | None = None,
    task: Task | str | None = None,
    baselines: bool = True,
    skip_unreadable: bool = False,
    group_by: str | None = None,
    hold_out: HoldOut | None = None,
    restart: bool = False,
    overwrite: bool = False,
    again: bool = False,
    tensorboard: bool = False,
    log: Any = console.say,
    reporters: Sequence[Reporter] | None = None,
    model_options: dict[str, Any] | None = None,
    **task_options: Any,
) -> TunedPrompt:
    """Tune a prompt on `data`, score it beside its baselines, and save it to the folder `to`.

    data: a file, folder, name, DataFrame or list of dicts (see `read_rows`); validation, test: the same, or None to
    set parts of `data` aside. model, prompt: by default what goes with the rows (`modality`): "smollm2-135m" and
    "soft" for texts, "dinov2-small" and "vpt" for pictures ("frame" on convolutional networks).
    prompt, for pictures: one of `prompts.start_image.IMAGE_METHODS` ("vpt", "vpt-shallow", "prefix", "frame", …).
    For texts one of `prompts.start_text.TEXT_METHODS` ("soft", "prefix", "late", …); "hard" (instruction and `shots`
    demonstrations), "calibrated" (the same, calibrated) or "nearest" (each row's own `shots`), in which nothing is
    tuned; or "soft-from-hard" (starts as exactly that hard prompt). start: folder of a saved prompt whose virtual
    tokens or words this one begins from, or which "calibrated" calibrates; "multitask" starts from a universal prompt
    (`methods.multitask`). train_rows: how many labelled rows to learn from, drawn label by label (few-shot tuning;
    `drawn` numbers the draw); then none are spent on validation, and the last step is kept. task: a `Task`, its kind,
    or None to infer it with `task_options` (text, label, template, labels, label_words, instruction, columns,
    max_tokens, generate; image; labels_from, label_delimiter: see `tasks.asked`).
    baselines: for texts the same task said in words, for pictures a linear probe on the same frozen states.
    skip_unreadable: leave rows out that cannot be used. group_by: a column of `data` whose equal rows stay on one side
    of the split (a speaker, a patient). hold_out: column -> values of the rows that are tested, instead of rows at
    random.
    A run that was stopped goes on when called again; restart=True starts over. again: what this very run has finished
    and saved at `to` is returned as it is. Raises CuetuneError for
    anything the user can mend.
    """
    target = Path(to)
    run_folder = run_folder_of(target)
    finished = finished_run(target, run_folder) if again and not (restart or overwrite) else None
    overwrite = overwrite if finished else may_replace(target, run_folder, overwrite)
    settings = settings or Settings()
    prepared = prepare(
        data, validation, test, task, settings,
        model=model, skip_unreadable=skip_unreadable, group_by=group_by, hold_out=hold_out, folder=run_folder,
        **task_options,
    )  # fmt: skip
    modality = prepared.modality
    if train_rows is not None:
        prepared = few_rows(prepared, train_rows, drawn, keep_validation=validation is not None)
    for line in describe(prepared.task, prepared.splits.train):
        log(line)
    few = train_rows is not None or prompt in WORDINGS
    for line in (*prepared.notes, sizes(prepared.splits), *thin_parts(prepared, few=few)):
        log(line)
    backbone = backbone_for_rows(modality, model, model_options or {})
    learned = [*prepared.splits.train, *prepared.splits.validation]
    refuse_unknown_tokens(backbone, prepared.task, [*learned, *prepared.splits.test])
    prepared = replace(prepared, task=with_answer_length(backbone, prepared.task, learned))
    prompt = prompt or usual_method(backbone)
    if prompt in (*WORDINGS, "soft-from-hard", "multitask"):
        refuse(prepared.task, f"prompt {prompt!r}")
    settings = for_method(modality, prompt, settings)
    if prompt not in WORDINGS:
        note = readout_note(backbone, prepared.task, settings.readout)
        for line in [note] if note else head_proposal(prepared.task, backbone, settings.readout):
            log(line)
    started = first_prompt(backbone, prepared, prompt, shots, settings, start)
    # What tells tasks apart to a shared prompt is the instruction at the beginning of every row.
    asked = replace(prepared, task=instructed(prepared.task)) if prompt == "multitask" else prepared
    outcome = None
    if prompt in WORDINGS:
        log(f"{prompt}: {started.described()}; nothing is tuned")
    else:
        resolved = settings.resolved(backbone, len(prepared.splits.train), started)
        init = settings.init if modality.starts_from_words else ""
        resolved = resolved.model_copy(update={"length": started.length, "init": init})
        log(settings_line(prompt, resolved, started, backbone))
        watching: list[Reporter] = [Bar()] if reporters is None else list(reporters)
        watching.append(JsonLog(run_folder))
        if tensorboard:
            RUN.claim(run_folder)
            watching.append(TensorBoard(run_folder))
        if restart and (run_folder / CHECKPOINT).exists():
            log(f"{run_folder}: the checkpoint of an earlier run is dropped, and this one starts over (--restart)")
        tuner = tuner_of(backbone, started, asked, resolved, run_folder, watching, restart)
        if finished is not None:
            there = TunedPrompt.load(target)
            if finished != tuner.key or (start is not None and there.record.get("lineage") != [ancestor(start)]):
                may_replace(target, run_folder, False)  # raises
            log(f"{target}: is finished already")
            return there
        outcome = tuner.run_counted()
        for line in outcome.notes:
            log(line)
    # Saved before it is scored: whatever goes wrong from here on, the run was not in vain.
    made = {**record(backbone, started, prepared, outcome), "start": prompt}
    if outcome is not None and (key := unfinished_run(run_folder)) is not None:
        made["run"] = key
    if start is not None:
        made["lineage"] = [ancestor(start)]
    started = started.fold()
    tuned = TunedPrompt(started, asked.task, backbone.identity, made, head=outcome.head if outcome else None)
    if outcome is not None:  # words are found again in no time
        tuned.save(target, overwrite=overwrite)
        overwrite = True
        tuned = replace(tuned, task=decided(tuned.task, lambda: tuned.predictor(backbone), prepared.splits.validation))
    if outcome and outcome.progress.stopped == "interrupted":
        if tuned.task.thresholds:
            tuned.save(target, overwrite=True)
        return tuned  # the checkpoint stays: the same command goes on from it
    if prepared.splits.test:
        evaluation = score(backbone, tuned, prepared, shots if baselines else -1)
        scores = {"scores": evaluation.scores(), "scored_rows": evaluation.rows}
        tuned = replace(tuned, record={**tuned.record, **scores})
    if prepared.splits.test or outcome is None or tuned.task.thresholds:
        tuned.save(target, overwrite=overwrite)
    if outcome is not None:
        (run_folder / CHECKPOINT).unlink(missing_ok=True)  # the last of all: until then the same command goes on
    return tuned
