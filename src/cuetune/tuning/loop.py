"""The one training loop. Every method tunes its prompt here; only the prompt's numbers ever change."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import Tensor, nn

from cuetune.backbones.base import Backbone
from cuetune.backbones.compat import text as compat
from cuetune.backbones.registry import modality_of
from cuetune.cost.flops import count as count_flops
from cuetune.cost.meter import peak_memory, reset_peak
from cuetune.errors import CuetuneError
from cuetune.prompts.base import Prompt
from cuetune.readouts import Head
from cuetune.support.strict_json import DAMAGED, reason_of
from cuetune.tuning.batches import Batches, Epochs, StepRows, visited
from cuetune.tuning.checkpoint import (
    Progress,
    load_checkpoint,
    restore_optimizer,
    run_key,
    save_checkpoint,
)
from cuetune.tuning.early_stopping import count
from cuetune.tuning.head_start import begin as begin_head
from cuetune.tuning.head_start import per_pass, remap, remaps
from cuetune.tuning.objectives import Objective, cross_entropy
from cuetune.tuning.operations import between_steps, one_validation
from cuetune.tuning.progress import Reporter
from cuetune.tuning.run_folder import checkpoint_key
from cuetune.tuning.runs import RUNS, Run, TaskData
from cuetune.tuning.runs.augmentation import augmentation_for
from cuetune.tuning.settings import Settings
from cuetune.tuning.step_pass import StepPass
from cuetune.tuning.task_embedding import EARLY, embedding, virtual_tokens

FIRST = 16  # rows by whose states a head's rate is set


@dataclass(frozen=True)
class Outcome:
    """What a run came to; the prompt then holds the numbers of its best step.

    notes: what was cut of its rows, for a person. heads: trained with it, by task. flops, validation_flops: operations
    of everything but validation, and of all validations; None where nobody asked for them (`Tuner.run_counted`).
    """

    progress: Progress
    settings: Settings
    peak_memory_bytes: int
    notes: Sequence[str] = ()
    heads: Sequence[Head | None] = (None,)
    flops: float | None = None
    validation_flops: float | None = None

    @property
    def head(self) -> Head | None:
        """The head of the only task, or of the first."""
        return self.heads[0]


class Tuner:
    """Tunes one prompt on a frozen backbone, for one task or several at once, which `prompt.of_task` tells apart.

    data: the task with its examples, or several. settings: resolved (`Settings.resolved`). folder: where checkpoints
    go, None for none. reporters: see `tuning.progress`. batches: which rows a step sees, by default passes over the
    only task. data_key: anything that tells this data and these objectives from others. queries: (N, D) of each task's
    rows, for a prompt that goes by them (`prompts.query`); where they are not given, each step asks for its own.
    head_known: whoever calls lets the heads go on from what was learned before, so that step 0 is one to choose.
    restart: start over, whatever checkpoint is there.
    """

    def __init__(
        self,
        backbone: Backbone,
        prompt: Prompt,
        data: TaskData | Sequence[TaskData],
        settings: Settings,
        *,
        folder: Path | None = None,
        reporters: Sequence[Reporter] = (),
        objectives: Sequence[Objective] = (cross_entropy,),
        batches: Batches | None = None,
        data_key: str = "",
        queries: Sequence[Tensor] = (),
        head_known: bool = False,
        restart: bool = False,
    ) -> None:
        tasks = [data] if isinstance(data, TaskData) else list(data)
        self.backbone, self.prompt, self.settings = backbone, prompt.to(backbone.device), settings
        self.folder, self.reporters, self.objectives = folder, reporters, objectives
        self.head_known, self.restart = head_known, restart
        modality, share = modality_of(backbone), max(1, settings.validation_rows // len(tasks))
        reading = [objective for objective in objectives if objective.reads_text]
        if reading and modality.name != "text":
            raise CuetuneError(
                f"{type(reading[0]).__name__} compares texts token by token; {modality.plural} have none."
            )
        self.runs: list[Run] = [
            RUNS[modality.name](backbone, prompt.of_task(number), each, settings, share, folder)
            for number, each in enumerate(tasks)
        ]
        if any(objective.scores_labels for objective in objectives):
            for run in self.runs:
                run.training_readout = run.readout
        changed = augmentation_for(modality, settings.augment, settings.seed)
        if changed and prompt.frozen_below:
            raise CuetuneError(
                "--augment changes images in every step, and below a late prompt states are computed once; leave one."
            )
        self.step_pass = StepPass(backbone, self.prompt, self.runs, bool(reading), queries, changed)
        self.batches = batches or Epochs(len(self.runs[0].rows), settings.batch_size, settings.seed)
        self.trained = nn.ModuleDict({"prompt": self.prompt})
        self.optimizer = self._optimizer()
        self.key = run_key(
            task=[run.task.to_dict() for run in self.runs],
            settings=settings.model_dump(),
            backbone=backbone.identity.to_dict(),
            prompt=[prompt.kind, prompt.spec()],
            data=data_key,
            dtype=str(backbone.dtype),
        )
        self.progress = Progress()
        self._is_ready = False
        self.best = self._tensors()
        self.begun = self.best if folder is not None else {}
        self._start = virtual_tokens(prompt) if len(self.runs) == 1 else None

    def _optimizer(self) -> torch.optim.AdamW:
        """AdamW over the prompt and the heads, each part at its own rate."""
        groups = self.prompt.groups()
        for number, run in enumerate(self.runs):
            if run.head is not None:
                self.trained[f"head{number}"] = run.head
                states = run.states_of(self.prompt.of_task(number), range(min(FIRST, len(run.rows))))
                rate = self.settings.head_rate(self.backbone, self.prompt, states)
                if trained := [part for part in run.head.parameters() if part.requires_grad]:
                    groups.append((trained, rate))
        return torch.optim.AdamW(
            [{"params": parameters, "relative": relative} for parameters, relative in groups],
            lr=self.settings.rate(0),
            weight_decay=self.settings.weight_decay,
        )

    def run(self) -> Outcome:
        """Tune to the end, to early stopping or to Ctrl-C; the prompt keeps its best step. A stopped run goes on."""
        self._resume()
        compat.prepare_for_tuning(self.backbone.model, self.settings.gradient_checkpointing, self.settings.compile)
        reset_peak(self.backbone.device)
        for reporter in self.reporters:
            reporter.start(self._steps, self.progress.step)
        try:
            self._prepare()
            self._loop()
        except KeyboardInterrupt:
            self._keep_begun()
            self.progress.stopped = "interrupted"
        finally:
            for reporter in self.reporters:
                reporter.stop()
        self.trained.load_state_dict(self.best)
        notes = [line for run in self.runs for line in run.cut_notes()]
        heads = [run.head.kept() if run.head else None for run in self.runs]
        return Outcome(self.progress, self.settings, peak_memory(self.backbone.device), notes, heads)

    def run_counted(self) -> Outcome:
        """As `run`, with the operations that it took."""
        outcome = self.run()
        if not outcome.progress.step_flops and outcome.progress.step:
            outcome.progress.step_flops = self._step_flops()
            if outcome.progress.stopped != "interrupted":  # what goes on needs its last step, not its best
                self._checkpoint()
        return replace(outcome, flops=self.flops(), validation_flops=self.validation_flops())

    def _prepare(self) -> None:
        """Compute what the prompt cannot change, once: states below a late prompt, and what objectives compare with."""
        if self.progress.step >= self._steps or self.progress.stopped:
            return
        started = time.perf_counter()
        self._ready(range(self.progress.step, self._steps))
        self.progress.seconds += time.perf_counter() - started
        if not self.progress.step:
            self._begin_heads()

    def _ready(self, ahead: range) -> None:
        """Let the runs and the objectives have what these steps need."""
        layer = self.prompt.frozen_below
        if layer and self.backbone.keeps_states:
            for run in self.runs:
                run.freeze(layer, self.folder)
        for objective in self.objectives:
            objective.prepare(self.runs, visited(self.batches, ahead, len(self.runs)))
        self._is_ready = True

    def _begin_heads(self) -> None:
        """Let heads begin; what a head says before the first step is a step to choose, but for a random one's."""
        started = time.perf_counter()
        for number, run in enumerate(self.runs):
            begin_head(run, self.prompt.of_task(number), self.settings.head_init)
        self.best = self._tensors()
        self.progress.seconds += time.perf_counter() - started
        known = self.head_known or self.settings.head_init == "probe"
        begun = known or any(remaps(run) for run in self.runs)
        if begun and any(run.head is not None and run.validation for run in self.runs):
            self._validate()

    def _remap(self) -> None:
        """After every pass over a run's data, its classes stand for its labels anew."""
        for number, run in enumerate(self.runs):
            if remaps(run) and self.progress.step and self.progress.step % per_pass(run, self.settings) == 0:
                remap(run, self.prompt.of_task(number))

    def _loop(self) -> None:
        while self.progress.step < self._steps and not self.progress.stopped:
            started = time.perf_counter()
            self._remap()
            values = self._step(self.batches.of(self.progress.step))
            self.progress.step += 1
            if self.progress.step == EARLY and len(self.runs) == 1:
                self.progress.task_embedding = embedding(self._start, virtual_tokens(self.prompt))
            self.progress.seconds += time.perf_counter() - started
            for reporter in self.reporters:
                reporter.step(self.progress.step, values)
            if self.progress.step % self._every == 0 or self.progress.step == self._steps:
                self._validate()
            if self.progress.step % self.settings.checkpoint_every == 0 or self.progress.step == self._steps:
                self._checkpoint()

    def _step(self, chosen: StepRows) -> dict[str, float]:
        """One update of the prompt on these rows; returns loss, gradient norm and learning rate."""
        rate = self.settings.rate(self.progress.step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["relative"]
        self.optimizer.zero_grad(set_to_none=True)
        loss = self._loss(chosen)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.trained.parameters(), self.settings.max_grad_norm)
        if not torch.isfinite(norm):
            task, numbers = chosen[0]
            raise CuetuneError(
                f"the gradient is not finite at step {self.progress.step + 1} (rows "
                f"{self.runs[task].rows[numbers[0]].where} …); lower --learning-rate or use --dtype float32."
            )
        self.optimizer.step()
        return {"loss": loss.item(), "gradient_norm": norm.item(), "learning_rate": rate}

    def _loss(self, chosen: StepRows) -> Tensor:
        """The objectives' sum, each the mean over these rows; counts their tokens."""
        batches, tokens = self.step_pass(chosen, self.progress.step)
        self.progress.tokens += tokens
        n_rows = sum(len(batch.rows) for batch in batches)
        losses = [objective(batch) * (len(batch.rows) / n_rows) for batch in batches for objective in self.objectives]
        return torch.stack(losses).sum()

    def flops(self) -> float:
        """Floating-point operations of the run so far, validation left out; what is done once is counted once."""
        done = self.progress.step
        step = self.progress.step_flops or (self._step_flops() if done else 0.0)
        return step * done + between_steps(self.runs, self.prompt, self.settings, done)

    def _step_flops(self) -> float:
        """Operations of the last step, taken again when all is done, so that counting changes no number of the run."""
        last, tokens = self.progress.step - 1, self.progress.tokens
        if not self._is_ready:
            self._ready(range(last, last + 1))
        step = float(count_flops(lambda: self._loss(self.batches.of(last)).backward()))
        self.optimizer.zero_grad(set_to_none=True)
        self.progress.tokens = tokens
        return step

    def validation_flops(self) -> float:
        """Operations of all validations so far."""
        return self.progress.validations * one_validation(self.runs, self.prompt)

    def _validate(self) -> None:
        started = time.perf_counter()
        scores = self._scores()
        self.progress.validations += 1
        best = count(self.progress, scores)
        if best:
            self.best = self._tensors()
        if self.progress.waited >= self.settings.patience:
            self.progress.stopped = "early"
        self.progress.seconds += time.perf_counter() - started
        for reporter in self.reporters:
            reporter.validation(self.progress.step, scores, best)
        if self.progress.stopped:
            self._checkpoint()

    def _scores(self) -> dict[str, float]:
        """Means over the tasks of what each scores on its validation rows; without any, the last step is the best."""
        scored = [run.scores(self.prompt.of_task(number)) for number, run in enumerate(self.runs) if run.validation]
        if not scored:
            return {"step": float(self.progress.step)}
        return {name: fmean(each[name] for each in scored) for name in scored[0] if all(name in s for s in scored)}

    def _tensors(self) -> dict[str, Tensor]:
        return {name: value.detach().clone() for name, value in self.trained.state_dict().items()}

    def _checkpoint(self) -> None:
        if self.folder is not None:
            save_checkpoint(self.folder, self.key, self.progress, self._tensors(), self.best, self.optimizer)

    def _keep_begun(self) -> None:
        """A run that is stopped before its first checkpoint goes on from its beginning."""
        if self.folder is not None and checkpoint_key(self.folder) != self.key:
            best = {name: value.clone() for name, value in self.begun.items()}
            save_checkpoint(self.folder, self.key, Progress(), self.begun, best, None)

    def _resume(self) -> None:
        if self.folder is None or self.restart or (found := load_checkpoint(self.folder, self.key)) is None:
            return
        self.progress, parts = found
        device: Any = self.backbone.device
        try:
            self.trained.load_state_dict(parts["best"])  # checked here, since it is only used in the end
            self.trained.load_state_dict(parts["trained"])
            self.best = {name: value.to(device) for name, value in parts["best"].items()}
            restore_optimizer(self.optimizer, parts["optimizer"])
        except DAMAGED as error:
            raise CuetuneError(
                f"{self.folder}: its checkpoint does not fit ({reason_of(error)}); start over with --restart."
            ) from error

    @property
    def _steps(self) -> int:
        assert self.settings.steps is not None, "settings are resolved before a run"
        return self.settings.steps

    @property
    def _every(self) -> int:
        assert self.settings.evaluate_every is not None, "settings are resolved before a run"
        return self.settings.evaluate_every
