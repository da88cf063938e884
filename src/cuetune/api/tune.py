"""`tune`: from the user's data to a saved prompt with its scores. The same in Python and on the command line."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cuetune.api.tune_run import TuneRun
from cuetune.backbones.base import Backbone
from cuetune.data.hold_out import HoldOut
from cuetune.data.task import Task
from cuetune.library.tuned import TunedPrompt
from cuetune.support import console
from cuetune.support.locking import alone
from cuetune.tuning.data import few_rows, prepare
from cuetune.tuning.progress import Reporter
from cuetune.tuning.run_folder import finished_run, may_replace, run_folder_of
from cuetune.tuning.settings import Settings


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
    set parts of `data` aside. model, prompt: by default those of the rows' modality (`modality`). prompt: a name in
    `prompts.registry.METHODS`, or for texts one of those below. task: a `Task`, its kind, or None to infer it with
    `task_options` (text, label, template, labels, …; see `data.task_inference.infer_task`). train_rows: how many
    labelled rows to learn from, drawn label by label (few-shot tuning; `drawn` numbers the draw); then none are spent
    on validation, and the last step is kept. baselines: the same task in words, or a linear probe.
    skip_unreadable: leave rows out that cannot be used. group_by: a column whose equal rows stay on one side of the
    split. hold_out: column -> values of the rows that are tested. again: a finished run is returned as it is.

    For texts: "hard" (instruction and `shots` demonstrations), "calibrated" (the same, calibrated) and "nearest" (each
    row's own `shots`) tune nothing; "soft-from-hard" starts as that hard prompt; "multitask" starts from a universal
    prompt. start: folder of the prompt to begin from. A run that was stopped goes on when called again; restart=True
    starts over. Raises CuetuneError for anything the user can mend.
    """
    target = Path(to)
    folder = run_folder_of(target)
    finished = finished_run(target, folder) if again and not (restart or overwrite) else None
    overwrite = overwrite if finished else may_replace(target, folder, overwrite)
    settings = settings or Settings()
    prepared = prepare(
        data, validation, test, task, settings,
        model=model, skip_unreadable=skip_unreadable, group_by=group_by, hold_out=hold_out, folder=folder,
        **task_options,
    )  # fmt: skip
    if train_rows is not None:
        prepared = few_rows(prepared, train_rows, drawn, keep_validation=validation is not None)
    run = TuneRun(target, folder, prepared, shots, start, log)
    run.show_data(few=train_rows is not None, method=prompt)
    run.begin(model, model_options or {}, prompt, settings)
    return run.saved(finished, overwrite, restart, baselines, reporters, tensorboard)
