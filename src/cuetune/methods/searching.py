"""Searching for words: what every search gets and gives back, and `search`, from a file to a saved hard prompt.

A search reads training rows, chooses by validation rows, and never sees the held-out rows on which the untouched prompt
and the found one are compared in the end.
"""

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any, get_type_hints

from pydantic import ConfigDict, ValidationError, create_model

from cuetune.answers import refuse
from cuetune.backbones.loading import DEFAULT
from cuetune.backbones.registry import text_backbone
from cuetune.backbones.text import TextBackbone
from cuetune.cost.meter import peak_memory, reset_peak
from cuetune.data.row import Example
from cuetune.data.task import Task
from cuetune.data.task_inference import describe
from cuetune.errors import CuetuneError
from cuetune.evaluation.evaluate import evaluate_sources
from cuetune.library.record import first_fault
from cuetune.library.tuned import TunedPrompt
from cuetune.methods.scoring import rank, validation_scores
from cuetune.prediction.text import Predictor
from cuetune.prompts.hard import HardPrompt
from cuetune.prompts.words import hard_prompt
from cuetune.support import console
from cuetune.support.locking import alone
from cuetune.tuning.data import Data, prepare
from cuetune.tuning.progress import Bar, Reporter
from cuetune.tuning.recording import device_name, record
from cuetune.tuning.run_folder import CHECKPOINT, HISTORY, JOURNAL, may_replace, run_folder_of, unfinished_run
from cuetune.tuning.settings import Settings


@dataclass(frozen=True)
class SearchJob:
    """What a search is given.

    train: labelled examples to search with. validation: labelled examples to choose by. start: the untouched prompt.
    folder: the run folder, for what a stopped search goes on from (`methods.journal`), or None. log: prints one line.
    reporters: see `tuning.progress`; `step` gets {"loss": …}. data_key: tells this data from other data.
    """

    backbone: TextBackbone
    task: Task
    train: Sequence[Example]
    validation: Sequence[Example]
    start: HardPrompt
    seed: int = 0
    folder: Path | None = None
    log: Callable[[str], Any] = console.say
    reporters: Sequence[Reporter] = ()
    data_key: str = ""


@dataclass(frozen=True)
class Found:
    """What a search comes to.

    prompt: the best words it saw. history: one dictionary per step, with "step", "text" and a "loss" or "score".
    tokens, flops: what went through the backbone. calls: to another model's endpoint. seconds: of all its sessions, if
    it was stopped in between. stopped: "finished", "early" or "interrupted" (by Ctrl-C; the best so far is returned).
    note: one line for the user, if there is something to know.
    """

    prompt: HardPrompt
    history: list[dict[str, Any]]
    steps: int
    tokens: int = 0
    flops: float = 0.0
    seconds: float = 0.0
    calls: int = 0
    stopped: str = "finished"
    note: str = ""


@dataclass(frozen=True)
class Search:
    """One way to search: a line for people, and where its function (job, *, options) -> Found is, "module:name"."""

    title: str
    place: str

    @property
    def function(self) -> Callable[..., Found]:
        """Imported when it is first used."""
        module, _, name = self.place.partition(":")
        found: Callable[..., Found] = getattr(import_module(module), name)
        return found

    @property
    def options(self) -> dict[str, Any]:
        """Its own options with their defaults."""
        parameters = list(inspect.signature(self.function).parameters.values())[1:]
        return {parameter.name: parameter.default for parameter in parameters}

    def checked(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """All options with the user's values, texts turned into the annotated types. Raises CuetuneError."""
        known = self.options
        for name in options:
            if name not in known:
                listed = ", ".join(f"{key}={value}" for key, value in known.items()) or "none"
                raise CuetuneError(f"this search has no option {name!r} (its options: {listed}).")
        hints = get_type_hints(self.function, include_extras=True)
        fields: dict[str, Any] = {name: (hints[name], default) for name, default in known.items()}
        try:
            return create_model("Options", __config__=ConfigDict(extra="forbid"), **fields)(**options).model_dump()
        except ValidationError as error:
            raise CuetuneError(f"--method-option {first_fault(error)}.") from error


SEARCHES = {
    "greedy": Search(
        "swaps one word at a time for one that the gradient names and fresh rows confirm (AutoPrompt 2020)",
        "cuetune.methods.coordinate_search:greedy",
    ),
    "pez": Search(
        "moves embeddings by the gradient at their nearest words (PEZ 2023)",
        "cuetune.methods.pez:pez",
    ),
    "ape": Search(
        "instructions that a model writes from examples, and variations of the best (APE 2022)",
        "cuetune.methods.instruction_search:ape",
    ),
    "opro": Search(
        "instructions that a model writes from earlier ones and their scores (OPRO 2023)",
        "cuetune.methods.instruction_search:opro",
    ),
}


@alone("to")
def search(
    data: Any,
    to: str | Path,
    *,
    method: str = "greedy",
    method_options: Mapping[str, Any] | None = None,
    start: str | Path | None = None,
    validation: Any = None,
    test: Any = None,
    model: str | TextBackbone = DEFAULT,
    task: Task | str | None = None,
    skip_unreadable: bool = False,
    seed: int = 0,
    restart: bool = False,
    overwrite: bool = False,
    log: Callable[[str], Any] = console.say,
    reporters: Sequence[Reporter] | None = None,
    model_options: dict[str, Any] | None = None,
    **task_options: Any,
) -> TunedPrompt:
    """Search for words on `data`, score them beside the untouched prompt on held-out rows, save them to `to`.

    method: one of `SEARCHES`; method_options: its own, by name. start: folder of a saved hard prompt to begin from,
    else the task's instruction. Everything else is as in `cuetune.tune`. A search that was stopped goes on when called
    again; restart=True starts over. The result is a hard prompt like any other: `cuetune.tune(data, to, start=folder)`
    tunes on from its words. Raises CuetuneError for anything the user can mend.
    """
    target = Path(to)
    folder = run_folder_of(target)
    overwrite = may_replace(target, folder, overwrite)
    if method not in SEARCHES:
        raise CuetuneError(f"unknown search {method!r}; choose one of {', '.join(SEARCHES)}.")
    values = SEARCHES[method].checked(method_options or {})
    how: dict[str, Any] = {"model": model, "skip_unreadable": skip_unreadable, **task_options}
    prepared = prepare(data, validation, test, task, Settings(seed=seed), **how)
    refuse(prepared.task, "search")
    for line in (*describe(prepared.task, prepared.splits.train), *prepared.notes):
        log(line)
    backbone = text_backbone(model, **(model_options or {}))
    if restart:
        _forget(folder)
    job = _job(backbone, prepared, start, seed, folder, log, [Bar("searching")] if reporters is None else reporters)
    reset_peak(backbone.device)
    found = SEARCHES[method].function(job, **values)
    tuned = _result(job, prepared, _chosen(job, found), method, values)
    tuned.save(target, overwrite=overwrite)  # before it is scored: whatever goes wrong, the search was not in vain
    if found.stopped == "interrupted":
        return tuned  # the journal stays: the same command goes on from it
    if prepared.splits.test:
        tuned = _scored(job, tuned, prepared.splits.test)
        tuned.save(target, overwrite=True)
    _keep_history(folder)  # the last of all: until then the same command goes on
    return tuned


def text_of(backbone: TextBackbone, ids: Sequence[int]) -> str:
    """Tokens as a reader sees them."""
    return str(backbone.tokenizer.decode(list(ids)))


def _job(
    backbone: TextBackbone,
    data: Data,
    start: str | Path | None,
    seed: int,
    folder: Path,
    log: Callable[[str], Any],
    reporters: Sequence[Reporter],
) -> SearchJob:
    splits = data.splits
    if not splits.validation:
        raise CuetuneError("a search needs rows to choose by; give --validation or more data.")
    prompt = hard_prompt(backbone, data.task) if start is None else _words_of(start, backbone)
    log(f"rows: {len(splits.train)} to search with, {len(splits.validation)} to choose by, {len(splits.test)} held out")
    log(f"the untouched prompt: {text_of(backbone, prompt.ids)!r}")
    return SearchJob(
        backbone, data.task, splits.train, splits.validation, prompt, seed, folder, log, reporters, data_key=data.key
    )


def _words_of(folder: str | Path, backbone: TextBackbone) -> HardPrompt:
    saved = TunedPrompt.load(folder)
    saved.backbone.check(backbone.identity, str(folder))
    if not isinstance(saved.prompt, HardPrompt) or saved.prompt.kind != HardPrompt.kind:
        raise CuetuneError(f"{folder}: a {saved.prompt.kind!r} prompt has no words to start from; give a hard prompt.")
    return saved.prompt


def _chosen(job: SearchJob, found: Found) -> Found:
    """What was found, or the untouched prompt where that does better on the validation rows."""
    scores = [validation_scores(job.backbone, job.task, each, job.validation) for each in (job.start, found.prompt)]
    if not job.start.ids or rank(scores[1]) > rank(scores[0]) or found.prompt.ids == job.start.ids:
        return found
    note = "nothing found does better than the untouched prompt on the validation rows; it is kept."
    return replace(found, prompt=job.start, note=f"{note} {found.note}".strip())


def _result(job: SearchJob, data: Data, found: Found, method: str, values: Mapping[str, Any]) -> TunedPrompt:
    backbone, prompt = job.backbone, found.prompt.cpu()
    made = record(backbone, prompt, data, None)
    made["settings"] = {"search": method, **values, "dtype": str(backbone.dtype).removeprefix("torch.")}
    made["seed"] = job.seed
    made["stopped"] = found.stopped
    if job.folder is not None and (key := unfinished_run(job.folder)) is not None:
        made["run"] = key
    made["search"] = {
        "untouched": text_of(backbone, job.start.ids),
        "found": text_of(backbone, prompt.ids),
        "calls": found.calls,
        "note": found.note,
    }
    made["cost"] = {
        "seconds": round(found.seconds, 2),
        "steps": found.steps,
        "tokens": found.tokens,
        "tflop": round(found.flops / 1e12, 3),
        "peak_memory_bytes": peak_memory(backbone.device),
        "device": device_name(backbone),
        "stored_bytes": 4 * prompt.embeddings.numel(),
        "trained_parameters": 0,
    }
    return TunedPrompt(prompt, job.task, backbone.identity, made)


def _scored(job: SearchJob, tuned: TunedPrompt, test: Sequence[Example]) -> TunedPrompt:
    """The untouched prompt and the found one on the same held-out rows."""
    assert isinstance(tuned.prompt, HardPrompt)
    found = HardPrompt(tuned.prompt.ids, tuned.prompt.embeddings.to(job.backbone.device))
    sources = {
        name: Predictor(job.backbone, job.task, each) for name, each in (("found", found), ("untouched", job.start))
    }
    evaluation = evaluate_sources(job.task, sources, test)
    return replace(tuned, record={**tuned.record, "scores": evaluation.scores(), "scored_rows": evaluation.rows})


def _forget(folder: Path) -> None:
    for name in (CHECKPOINT, JOURNAL):
        (folder / name).unlink(missing_ok=True)


def _keep_history(folder: Path) -> None:
    """Let the same command start anew, and leave the history for the curious."""
    (folder / CHECKPOINT).unlink(missing_ok=True)
    if (folder / JOURNAL).exists():
        os.replace(folder / JOURNAL, folder / HISTORY)
