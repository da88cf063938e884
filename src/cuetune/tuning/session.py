"""`tune`: from the user's data to a saved prompt with its scores. The same in Python and on the command line."""

import datetime
import platform
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

import cuetune
from cuetune.backbones.loading import DEFAULT, load_backbone
from cuetune.backbones.text import TextBackbone
from cuetune.cost.meter import tuning_flops
from cuetune.errors import CuetuneError
from cuetune.evaluation.draws import draw
from cuetune.evaluation.evaluate import Evaluation, Source, evaluate_sources, in_words, own_name
from cuetune.library.digest import digest
from cuetune.library.saving import check_replaceable
from cuetune.library.tuned import TunedPrompt
from cuetune.library.universal import RECORD as UNIVERSAL
from cuetune.library.universal import UniversalPrompt, universal_for
from cuetune.methods.wording import WORDINGS, few_shot, prompt_in_words
from cuetune.prompts.base import Prompt
from cuetune.prompts.building import METHODS, Start, build, given_options
from cuetune.prompts.initial import initial_embeddings, soft_from_hard
from cuetune.prompts.multitask import TASK_RATE
from cuetune.tasks.inference import describe, infer_task
from cuetune.tasks.reading import read_rows
from cuetune.tasks.splits import Splits, fingerprint, split_examples
from cuetune.tasks.task import Row, Task
from cuetune.tuning.checkpoint import NAME as CHECKPOINT
from cuetune.tuning.loop import Outcome, Tuner
from cuetune.tuning.progress import Bar, JsonLog, Reporter, TensorBoard
from cuetune.tuning.settings import Settings
from cuetune.tuning.task_run import TaskData


@dataclass(frozen=True)
class Data:
    """A task and its labelled examples, split."""

    task: Task
    splits: Splits
    source: str

    @property
    def fingerprint(self) -> str:
        return fingerprint([*self.splits.train, *self.splits.validation, *self.splits.test])


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
        outcome = run(backbone, started, prepared, resolved, run_folder, watching, fresh)
    # Saved before it is scored: whatever goes wrong from here on, the run was not in vain.
    made = {**record(backbone, started, prepared, outcome), "start": prompt}
    if start is not None:
        made["lineage"] = [ancestor(start)]
    started = started.fold()
    tuned = TunedPrompt(started, prepared.task, backbone.identity, made, head=outcome.head if outcome else None)
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


def prepare(data: Any, validation: Any, test: Any, task: Task | None, settings: Settings, **task_options: Any) -> Data:
    """Read, infer what is not said, and split. The task's labels come from the training data alone."""
    options = {key: value for key, value in task_options.items() if value is not None}
    encoding = options.pop("encoding", "utf-8")
    rows = list(read_rows(data, encoding=encoding))
    if task is None:
        task = infer_task(rows, **options)
    examples = [task.example(row) for row in rows]
    given = {
        name: [task.example(row) for row in _rows(source, encoding)]
        for name, source in (("validation", validation), ("test", test))
        if source is not None
    }
    splits = split_examples(
        examples,
        validation=0 if "validation" in given else 0.1,
        test=0 if "test" in given else 0.2,
        seed=settings.seed,
        stratify=not task.generates,
    )
    splits = Splits(splits.train, given.get("validation", splits.validation), given.get("test", splits.test))
    source = Path(data).name if isinstance(data, str | Path) else type(data).__name__
    return Data(task, splits, source)


def few_rows(data: Data, rows: int, drawn: int = 0, *, keep_validation: bool = False) -> Data:
    """The same task with few rows to learn from: every label once if there is room, then in the data's proportion.

    Raises CuetuneError when there are not so many.
    """
    splits = data.splits
    if rows > len(splits.train):
        raise CuetuneError(
            f"--rows {rows}: {data.source} has {len(splits.train)} rows to tune on; ask for at most so many."
        )
    return replace(
        data, splits=Splits(draw(splits.train, rows, drawn), splits.validation if keep_validation else [], splits.test)
    )


def _rows(source: Any, encoding: str) -> list[Row]:
    return list(read_rows(source, encoding=encoding))


def first_prompt(
    backbone: TextBackbone, data: Data, method: str, shots: int, settings: Settings, start: str | Path | None = None
) -> Prompt:
    """The prompt a run starts from, or the finished one where nothing is tuned."""
    if method == "soft-from-hard":
        return soft_from_hard(few_shot(backbone, data.task, data.splits.train, shots, settings.seed))
    if method in WORDINGS:
        return prompt_in_words(
            backbone,
            data.task,
            data.splits.train,
            method,
            shots,
            start=start,
            options=settings.options,
            seed=settings.seed,
        )
    if method == "multitask":
        return _adapted(start, backbone, data.task.name, settings)
    if start is not None:
        embeddings = embeddings_of(start, backbone)
    else:
        embeddings = initial_embeddings(
            backbone, data.task, init=settings.init, length=settings.length, text=settings.init_text, seed=settings.seed
        )
    return build(method, Start(backbone, embeddings, settings.init, settings.seed), settings.options)


def _adapted(start: str | Path | None, backbone: TextBackbone, task: str, settings: Settings) -> Prompt:
    """The start of a new task from what the tasks of a universal prompt share."""
    if start is None:
        raise CuetuneError("prompt 'multitask' starts from a universal prompt; name its folder with --start.")
    how = given_options("multitask", {"frozen": False, "task_rate": TASK_RATE}, settings.options)
    return universal_for(start, backbone).prompt.adapted([task], **how)


def ancestor(folder: str | Path) -> dict[str, Any]:
    """What a prompt was started from, as its record says it."""
    folder = Path(folder)
    if (folder / UNIVERSAL).exists():
        return {"relation": "started from", "name": folder.name, "digest": UniversalPrompt.load(folder).digest}
    return {"relation": "started from", "name": folder.name, "digest": digest(TunedPrompt.load(folder))}


def embeddings_of(folder: str | Path, backbone: TextBackbone) -> Tensor:
    """The virtual tokens (P, d) of a saved prompt. Raises CuetuneError for one that has none at the embedding layer."""
    saved = TunedPrompt.load(folder)
    saved.backbone.check(backbone.identity, str(folder))
    injection = saved.prompt.injection()
    if set(injection.tokens) != {0} or injection.kv:
        raise CuetuneError(
            f"{folder}: a {saved.prompt.kind!r} prompt has no virtual tokens at the embedding layer to start from."
        )
    return injection.tokens[0].detach()


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


def record(backbone: TextBackbone, prompt: Prompt, data: Data, outcome: Outcome | None) -> dict[str, Any]:
    """Everything that is kept of a run beside the prompt itself (see `library.record`)."""
    splits = data.splits
    rows = {name: len(getattr(splits, name)) for name in ("train", "validation", "test")}
    kept: dict[str, Any] = {
        "data": {"source": data.source, "fingerprint": data.fingerprint, "rows": rows},
        "versions": versions(),
        "created": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }
    if outcome is not None:
        progress, head = outcome.progress, outcome.head
        in_head = head.weight.numel() + head.bias.numel() if head else 0
        kept["settings"] = {**outcome.settings.model_dump(), "dtype": str(backbone.dtype).removeprefix("torch.")}
        kept["seed"] = outcome.settings.seed
        kept["stopped"] = progress.stopped or "finished"
        kept["best_step"] = progress.best_step
        kept["validation_scores"] = progress.best_scores
        if progress.task_embedding:
            kept["task_embedding"] = progress.task_embedding
        kept["cost"] = {
            "seconds": round(progress.seconds, 2),
            "steps": progress.step,
            "tokens": progress.tokens,
            "tflop": round(tuning_flops(backbone, progress.tokens) / 1e12, 3),
            "peak_memory_bytes": outcome.peak_memory_bytes,
            "device": device_name(backbone),
            "stored_bytes": 4 * (sum(value.numel() for value in prompt.state_dict().values()) + in_head),
            "trained_parameters": prompt.n_trained + in_head,
        }
    return kept


def versions() -> dict[str, str]:
    """Versions of what a result depends on."""
    import torch
    import transformers

    return {
        "cuetune": cuetune.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }


def device_name(backbone: TextBackbone) -> str:
    """The GPU's name, or the processor's and how many threads were used."""
    import torch

    if backbone.device.type == "cuda":
        return torch.cuda.get_device_name(backbone.device)
    return f"CPU, {torch.get_num_threads()} threads"


def sizes(splits: Splits) -> str:
    return f"rows: {len(splits.train)} to tune on, {len(splits.validation)} to validate, {len(splits.test)} held out"


def _settings_line(method: str, settings: Settings, prompt: Prompt, backbone: TextBackbone) -> str:
    return (
        f"{method}: tuning {prompt.n_trained:,} numbers ({prompt.described()}, from {settings.init!r}) on "
        f"{backbone.identity.name} ({str(backbone.dtype).removeprefix('torch.')}, {backbone.device}): "
        f"{settings.steps} steps of {settings.batch_size} rows, learning rate {settings.learning_rate:g}, "
        f"seed {settings.seed}"
    )
