"""One run of `tune`: the start, the loop, what is saved and how it is scored."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cuetune.answers import refuse
from cuetune.backbones.base import Backbone
from cuetune.data.task_inference import describe, head_proposal
from cuetune.evaluation.scoring import score
from cuetune.library.tuned import TunedPrompt
from cuetune.methods.initial_prompt import ancestor, first_prompt
from cuetune.methods.wording import WORDINGS
from cuetune.prompts.registry import usual_method
from cuetune.prompts.words import instructed
from cuetune.tuning.data import Data, sizes, thin_parts
from cuetune.tuning.deciding import decided
from cuetune.tuning.loop import Outcome, Tuner
from cuetune.tuning.progress import Bar, JsonLog, Reporter, TensorBoard
from cuetune.tuning.recording import record
from cuetune.tuning.run_folder import CHECKPOINT, RUN, may_replace, unfinished_run
from cuetune.tuning.running import backbone_for_rows, for_method, settings_line, tuner_of
from cuetune.tuning.settings import Settings
from cuetune.tuning.text_task import readout_note, refuse_unknown_tokens, with_answer_length


class TuneRun:
    """A run on prepared data. target: where the prompt is saved. folder: of the run. log: takes lines for a person."""

    backbone: Backbone
    method: str
    settings: Settings

    def __init__(
        self, target: Path, folder: Path, data: Data, shots: int, start: str | Path | None, log: Callable[[str], Any]
    ) -> None:
        self.target, self.folder, self.data = target, folder, data
        self.shots, self.start, self.log = shots, start, log

    def show_data(self, few: bool, method: str | None) -> None:
        """Say how the rows are understood and split."""
        splits = self.data.splits
        thin = thin_parts(self.data, few=few or method in WORDINGS)
        for line in (*describe(self.data.task, splits.train), *self.data.notes, sizes(splits), *thin):
            self.log(line)

    def begin(
        self, model: str | Backbone | None, options: dict[str, Any], method: str | None, settings: Settings
    ) -> None:
        """Load the model and make the first prompt. Raises CuetuneError for rows that the model cannot read."""
        splits = self.data.splits
        self.backbone = backbone = backbone_for_rows(self.data.modality, model, options)
        learned = [*splits.train, *splits.validation]
        refuse_unknown_tokens(backbone, self.data.task, [*learned, *splits.test])
        self.data = replace(self.data, task=with_answer_length(backbone, self.data.task, learned))
        self.method = method or usual_method(backbone)
        if self.method in (*WORDINGS, "soft-from-hard", "multitask"):
            refuse(self.data.task, f"prompt {self.method!r}")
        settings = for_method(self.data.modality, self.method, settings)
        if self.method not in WORDINGS:
            note = readout_note(backbone, self.data.task, settings.readout)
            for line in [note] if note else head_proposal(self.data.task, backbone, settings.readout):
                self.log(line)
        self.settings = settings
        self.prompt = first_prompt(backbone, self.data, self.method, self.shots, settings, self.start)
        # What tells tasks apart to a shared prompt is the instruction at the beginning of every row.
        task = self.data.task
        self.task = instructed(task) if self.method == "multitask" else task

    def saved(
        self,
        finished: str | None,
        overwrite: bool,
        restart: bool,
        baselines: bool,
        reporters: Sequence[Reporter] | None,
        tensorboard: bool,
    ) -> TunedPrompt:
        """Run the loop, save the prompt, score it and save it again. finished: the key of a run that is saved whole."""
        outcome = None
        if self.method in WORDINGS:
            self.log(f"{self.method}: {self.prompt.described()}; nothing is tuned")
        else:
            tuner = self._tuner(reporters, tensorboard, restart)
            if finished is not None:
                return self._as_saved(finished, tuner)
            outcome = tuner.run_counted()
            for line in outcome.notes:
                self.log(line)
        # Saved before it is scored: whatever goes wrong from here on, the run was not in vain.
        tuned = self._tuned(outcome)
        if outcome is not None:  # words are found again in no time
            tuned.save(self.target, overwrite=overwrite)
            overwrite, rows = True, self.data.splits.validation
            tuned = replace(tuned, task=decided(tuned.task, lambda: tuned.predictor(self.backbone), rows))
        if outcome and outcome.progress.stopped == "interrupted":
            if tuned.task.thresholds:
                tuned.save(self.target, overwrite=True)
            return tuned  # the checkpoint stays: the same command goes on from it
        return self._scored(tuned, outcome, baselines, overwrite)

    def _tuner(self, reporters: Sequence[Reporter] | None, tensorboard: bool, restart: bool) -> Tuner:
        splits, settings = self.data.splits, self.settings
        resolved = settings.resolved(self.backbone, len(splits.train), self.prompt)
        init = settings.init if self.data.modality.starts_from_words else ""
        resolved = resolved.model_copy(update={"length": self.prompt.length, "init": init})
        self.log(settings_line(self.method, resolved, self.prompt, self.backbone))
        watching: list[Reporter] = [Bar()] if reporters is None else list(reporters)
        watching.append(JsonLog(self.folder))
        if tensorboard:
            RUN.claim(self.folder)
            watching.append(TensorBoard(self.folder))
        if restart and (self.folder / CHECKPOINT).exists():
            dropped = "the checkpoint of an earlier run is dropped, and this one starts over (--restart)"
            self.log(f"{self.folder}: {dropped}")
        data = replace(self.data, task=self.task)
        return tuner_of(self.backbone, self.prompt, data, resolved, self.folder, watching, restart)

    def _as_saved(self, finished: str, tuner: Tuner) -> TunedPrompt:
        """The prompt of a finished run. Raises CuetuneError where the run would be another one."""
        there = TunedPrompt.load(self.target)
        if finished != tuner.key or (self.start is not None and there.record.get("lineage") != [ancestor(self.start)]):
            may_replace(self.target, self.folder, False)  # raises
        self.log(f"{self.target}: is finished already")
        return there

    def _tuned(self, outcome: Outcome | None) -> TunedPrompt:
        """The prompt with the record of how it was made."""
        made = {**record(self.backbone, self.prompt, self.data, outcome), "start": self.method}
        if outcome is not None and (key := unfinished_run(self.folder)) is not None:
            made["run"] = key
        if self.start is not None:
            made["lineage"] = [ancestor(self.start)]
        head = outcome.head if outcome else None
        return TunedPrompt(self.prompt.fold(), self.task, self.backbone.identity, made, head=head)

    def _scored(self, tuned: TunedPrompt, outcome: Outcome | None, baselines: bool, overwrite: bool) -> TunedPrompt:
        """The prompt with its scores on the test rows, saved; the checkpoint is dropped."""
        if self.data.splits.test:
            evaluation = score(self.backbone, tuned, self.data, self.shots if baselines else -1)
            scores = {"scores": evaluation.scores(), "scored_rows": evaluation.rows}
            tuned = replace(tuned, record={**tuned.record, **scores})
        if self.data.splits.test or outcome is None or tuned.task.thresholds:
            tuned.save(self.target, overwrite=overwrite)
        if outcome is not None:
            (self.folder / CHECKPOINT).unlink(missing_ok=True)  # the last of all: until then the same command goes on
        return tuned
