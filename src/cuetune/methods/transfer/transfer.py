"""Transfer: a new task starts from the best-ranked prompts of a library (SPoT, Vu et al., ACL 2022)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cuetune.answers import refuse
from cuetune.backbones.loading import DEFAULT
from cuetune.backbones.registry import text_backbone
from cuetune.backbones.text import TextBackbone
from cuetune.data.task import Task
from cuetune.evaluation.evaluate import Source, evaluate_sources, in_words
from cuetune.library.collection import PromptLibrary
from cuetune.library.tuned import TunedPrompt
from cuetune.methods.initial_prompt import first_prompt
from cuetune.methods.transfer.ranking import Proposal, candidates, check_ranking, propose, weighted_average
from cuetune.prompts import Prompt, SoftPrompt
from cuetune.support import console
from cuetune.support.locking import alone
from cuetune.tuning.data import Data, few_rows, prepare, sizes
from cuetune.tuning.early_stopping import rank
from cuetune.tuning.loop import Outcome
from cuetune.tuning.progress import Bar, JsonLog, Reporter
from cuetune.tuning.recording import record
from cuetune.tuning.run_folder import CHECKPOINT, RUN, may_replace, run_folder_of, unfinished_run
from cuetune.tuning.running import run as run_once
from cuetune.tuning.runs import TaskData, TextRun
from cuetune.tuning.settings import Settings
from cuetune.tuning.task_embedding import read_embedding

LOOKED_AT = 128  # rows to learn from on which candidates are tried before any step
WORDS = "words"


@dataclass(frozen=True)
class Transferred:
    """The prompt that did best, and every proposal, tried or not, the most promising first.

    chosen: what it started from: a prompt of the library, "words", or "average of k".
    """

    tuned: TunedPrompt
    chosen: str
    proposals: Sequence[Proposal]


@alone("to")
def transfer(
    data: Any,
    library: str | Path | PromptLibrary,
    to: str | Path,
    *,
    top: int = 3,
    rank_by: str = "loss",
    average: bool = True,
    train_rows: int | None = None,
    drawn: int = 0,
    validation: Any = None,
    test: Any = None,
    model: str | TextBackbone = DEFAULT,
    settings: Settings | None = None,
    task: Task | str | None = None,
    overwrite: bool = False,
    log: Callable[[str], None] = console.say,
    reporters: Sequence[Reporter] | None = None,
    model_options: dict[str, Any] | None = None,
    **task_options: Any,
) -> Transferred:
    """Tune a soft prompt from words and from the `top` prompts of a library that promise most; keep the best.

    rank_by: how they are ranked (`proposals.propose`). average: also start from the mean of the top ones. All starts
    have the same budget; the best is chosen on the validation rows, or without any (`train_rows`: few-shot) by the loss
    on the rows that it learned from. Held-out scores of all are in the record. A run that was stopped goes on when
    called again. Raises CuetuneError for anything the user can mend.
    """
    target, settings = Path(to), settings or Settings()
    folder = run_folder_of(target)
    overwrite = may_replace(target, folder / WORDS, overwrite)
    check_ranking(rank_by)
    prepared = prepare(data, validation, test, task, settings, model=model, **task_options)
    refuse(prepared.task, "transfer")
    if train_rows is not None:
        prepared = few_rows(prepared, train_rows, drawn, keep_validation=validation is not None)
    log(sizes(prepared.splits))
    backbone = text_backbone(model, **(model_options or {}))
    shelf = library if isinstance(library, PromptLibrary) else PromptLibrary(library)
    found = candidates(shelf, backbone)
    work = _Work(backbone, prepared, settings, folder, reporters)
    words = first_prompt(backbone, prepared, "soft", 0, settings)
    run = work.task_run(words)
    begun = SoftPrompt(words.injection().tokens[0])
    outcomes = {WORDS: (words, work.tune(WORDS, words))}
    text = outcomes[WORDS][1].progress.task_embedding
    embedding = read_embedding(text, prepared.task.name) if text else None
    proposals = propose(run, found, begun, embedding, rank_by=rank_by)
    for name, prompt in _starts(proposals[:top], average).items():
        log(f"from {name}")
        outcomes[name] = (prompt, work.tune(name, prompt))
    chosen = max(outcomes, key=lambda name: rank(work.judged(run, *outcomes[name])))
    tuned = _finished(work, outcomes, chosen, proposals)
    tuned.save(target, overwrite=overwrite)
    for name in (*(each for each in outcomes if each != WORDS), WORDS):  # the last of all: until then it goes on
        (folder / name / CHECKPOINT).unlink(missing_ok=True)
    return Transferred(tuned, chosen, proposals)


@dataclass(frozen=True)
class _Work:
    """What every start has in common."""

    backbone: TextBackbone
    data: Data
    settings: Settings
    folder: Path
    reporters: Sequence[Reporter] | None

    def task_run(self, prompt: Prompt) -> TextRun:
        """The task with the rows to learn from as those that are looked at."""
        train = self.data.splits.train
        data = TaskData(self.data.task, train, train)
        return TextRun(self.backbone, prompt, data, self._resolved(prompt), LOOKED_AT)

    def _resolved(self, prompt: Prompt) -> Settings:
        resolved = self.settings.resolved(self.backbone, len(self.data.splits.train), prompt)
        return resolved.model_copy(update={"length": prompt.length})

    def tune(self, name: str, prompt: Prompt) -> Outcome:
        """One start with the common budget; it goes on where an earlier run of it was stopped."""
        place = self.folder / name
        RUN.claim(self.folder)
        watching = [*([Bar(f"from {name}")] if self.reporters is None else self.reporters), JsonLog(place)]
        outcome = run_once(self.backbone, prompt, self.data, self._resolved(prompt), place, watching, False)
        if outcome.progress.stopped == "interrupted":
            raise KeyboardInterrupt
        return outcome

    def judged(self, run: TextRun, prompt: Prompt, outcome: Outcome) -> dict[str, float]:
        """What starts are compared by: validation scores, or those on the rows they learned from."""
        return outcome.progress.best_scores if self.data.splits.validation else run.scores(prompt)


def _starts(best: Sequence[Proposal], average: bool) -> dict[str, Prompt]:
    starts: dict[str, Prompt] = {each.candidate.name: SoftPrompt(each.candidate.tokens) for each in best}
    if average and len(best) > 1:
        starts[f"average of {len(best)}"] = SoftPrompt(weighted_average(best))
    return starts


def _finished(
    work: _Work, outcomes: dict[str, tuple[Prompt, Outcome]], chosen: str, proposals: Sequence[Proposal]
) -> TunedPrompt:
    """The chosen prompt with the scores of all starts on the held-out rows, and where it comes from."""
    prompt, outcome = outcomes[chosen]
    made = {**record(work.backbone, prompt, work.data, outcome), "start": chosen}
    if (key := unfinished_run(work.folder / WORDS)) is not None:
        made["run"] = key
    by_name = {each.candidate.name: each for each in proposals}
    if chosen in by_name:
        source = by_name[chosen].candidate
        made["lineage"] = [{"relation": "started from", "name": source.name, "digest": source.digest}]
    tuned = TunedPrompt(prompt.fold(), work.data.task, work.backbone.identity, made)
    rows = work.data.splits.test
    if not rows:
        return tuned
    asked: dict[str, Source] = {"tuned": tuned.predictor(work.backbone)}
    others = {f"from {name}": replace(tuned, prompt=each) for name, (each, _) in outcomes.items() if name != chosen}
    asked |= {name: other.predictor(work.backbone) for name, other in others.items()}
    scores = evaluate_sources(work.data.task, {**asked, **in_words(work.backbone, work.data.task, (), 0)}, rows)
    for name, result in scores.results.items():
        called = chosen if name == "tuned" else name.removeprefix("from ")
        if called in by_name:
            by_name[called].measured.update({metric: score.value for metric, score in result.scores.items()})
    return replace(tuned, record={**made, "scores": scores.scores(), "scored_rows": scores.rows})
