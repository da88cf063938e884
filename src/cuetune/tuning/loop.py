"""The one training loop. Every method tunes its prompt here; only the prompt's numbers ever change."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cuetune import compat
from cuetune.backbones.text import TextBackbone
from cuetune.cost.meter import peak_memory, reset_peak
from cuetune.errors import CuetuneError
from cuetune.evaluation.metrics import negative_log_likelihood
from cuetune.prediction import Predictor, renderer_for
from cuetune.prompts.base import Prompt
from cuetune.readouts import Head, LabelReadout, LinearHead, readout_for
from cuetune.tasks.task import Example, Task
from cuetune.tuning.checkpoint import Progress, load_checkpoint, restore_optimizer, run_key, save_checkpoint
from cuetune.tuning.objectives import Batch, Objective, cross_entropy
from cuetune.tuning.progress import Reporter
from cuetune.tuning.settings import Settings
from cuetune.tuning.states import FrozenStates


@dataclass(frozen=True)
class Outcome:
    """What a run came to; the prompt itself then holds the numbers of its best step. head: trained with it, or None."""

    progress: Progress
    settings: Settings
    peak_memory_bytes: int
    cut_rows: int
    head: Head | None = None


class Tuner:
    """Tunes one prompt for one task on a frozen backbone.

    train, validation: labelled examples. settings: resolved (`Settings.resolved`). folder: where checkpoints go, None
    for none. reporters: see `tuning.progress`. data_key: anything that tells this data from other data.
    """

    def __init__(
        self,
        backbone: TextBackbone,
        prompt: Prompt,
        task: Task,
        train: Sequence[Example],
        validation: Sequence[Example],
        settings: Settings,
        *,
        folder: Path | None = None,
        reporters: Sequence[Reporter] = (),
        objectives: Sequence[Objective] = (cross_entropy,),
        data_key: str = "",
    ) -> None:
        if not train:
            raise CuetuneError("no rows to tune on.")
        self.backbone, self.prompt, self.task, self.settings = backbone, prompt.to(backbone.device), task, settings
        self.folder, self.reporters, self.objectives = folder, reporters, objectives
        self.readout = readout_for(backbone, task, settings.readout, pooling=settings.pooling, seed=settings.seed)
        self.trained = nn.ModuleDict({"prompt": self.prompt})
        injection = prompt.injection()
        backbone.check(injection)
        self.renderer = renderer_for(backbone, task, prompt.length + self.readout.n_answer)
        self.rows = list(self.renderer.render(train))
        self.validation = list(validation)[: settings.validation_rows]
        self.n_tokens = injection.n_tokens
        groups = prompt.groups()
        if isinstance(self.readout, LinearHead):
            self.trained["head"] = self.readout
            groups.append((list(self.readout.parameters()), settings.head_rate(backbone, prompt)))
        self.optimizer = torch.optim.AdamW(
            [{"params": parameters, "relative": relative} for parameters, relative in groups],
            lr=settings.rate(0),
            weight_decay=settings.weight_decay,
        )
        self.states: FrozenStates | None = None
        self.key = run_key(
            task=task.to_dict(),
            settings=settings.model_dump(),
            backbone=backbone.identity.to_dict(),
            prompt=[prompt.kind, prompt.spec()],
            data=data_key,
            dtype=str(backbone.dtype),
        )
        self.progress = Progress()
        self.best = self._tensors()

    def run(self) -> Outcome:
        """Tune to the end, to early stopping or to Ctrl-C; the prompt keeps its best step. A stopped run goes on."""
        self._resume()
        compat.prepare_for_tuning(self.backbone.model, self.settings.gradient_checkpointing, self.settings.compile)
        reset_peak(self.backbone.device)
        for reporter in self.reporters:
            reporter.start(self._steps, self.progress.step)
        try:
            self._freeze()
            self._loop()
        except KeyboardInterrupt:
            self.progress.stopped = "interrupted"
        finally:
            for reporter in self.reporters:
                reporter.stop()
        self.trained.load_state_dict(self.best)
        cut = sum(row.cut > 0 for row in self.rows)
        head = self.readout.kept() if isinstance(self.readout, LinearHead) else None
        return Outcome(self.progress, self.settings, peak_memory(self.backbone.device), cut, head)

    def _freeze(self) -> None:
        """Compute what the prompt cannot change, once; what is left of a step are the layers above."""
        if not (self.prompt.frozen_below and self.backbone.keeps_states) or self.progress.step >= self._steps:
            return
        started = time.perf_counter()
        layer, shared = self.prompt.frozen_below, self.renderer.shared
        self.states = FrozenStates(
            self.backbone, self.readout, self.rows, shared, layer, self.n_tokens, folder=self.folder
        )
        self.progress.seconds += time.perf_counter() - started

    def _loop(self) -> None:
        while self.progress.step < self._steps and not self.progress.stopped:
            started = time.perf_counter()
            values = self._step(self._batch(self.progress.step))
            self.progress.step += 1
            self.progress.seconds += time.perf_counter() - started
            for reporter in self.reporters:
                reporter.step(self.progress.step, values)
            if self.progress.step % self._every == 0 or self.progress.step == self._steps:
                self._validate()
            if self.progress.step % self.settings.checkpoint_every == 0 or self.progress.step == self._steps:
                self._checkpoint()

    def _step(self, numbers: Sequence[int]) -> dict[str, float]:
        """One update of the prompt on these rows; returns loss, gradient norm and learning rate."""
        rate = self.settings.rate(self.progress.step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["relative"]
        self.optimizer.zero_grad(set_to_none=True)
        loss = self._loss(numbers)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.trained.parameters(), self.settings.clip)
        if not torch.isfinite(norm):
            raise CuetuneError(
                f"the gradient is not finite at step {self.progress.step + 1} (rows {self.rows[numbers[0]].where} …); "
                "lower --learning-rate or use --dtype float32."
            )
        self.optimizer.step()
        return {"loss": loss.item(), "gradient_norm": norm.item(), "learning_rate": rate}

    def _loss(self, numbers: Sequence[int]) -> Tensor:
        """The objectives' sum on these rows; counts their tokens."""
        rows = [self.rows[number] for number in numbers]
        packed = self.readout.rows(rows, self.renderer.shared)
        if self.states is None:
            hidden = self.backbone.hidden(packed, self.prompt.injection())
        else:
            states = self.states.of(numbers)
            hidden = self.backbone.hidden_from(self.states.layer, states, packed, self.prompt.injection())
        self.progress.tokens += len(packed.ids) + len(packed.shared) + self.n_tokens
        batch = Batch(self.backbone, self.prompt, self.readout, rows, hidden)
        return torch.stack([objective(batch) for objective in self.objectives]).sum()

    def flops(self) -> float:
        """Floating-point operations of the whole run, counted by PyTorch on one batch and multiplied by the steps.

        What a late prompt computes once per example is counted once. Validation is left out.
        """
        from torch.utils.flop_counter import FlopCounterMode

        tokens = self.progress.tokens
        with FlopCounterMode(display=False) as counter:
            self._loss(self._batch(0)).backward()
        self.optimizer.zero_grad(set_to_none=True)
        self.progress.tokens = tokens
        once = 0.0
        if self.states is not None:
            rows = self.rows[: self.settings.batch_size]
            with FlopCounterMode(display=False) as below:
                packed = self.readout.rows(rows, self.renderer.shared)
                self.backbone.states_at(self.states.layer, packed, self.n_tokens)
            once = below.get_total_flops() * len(self.rows) / len(rows)
        return once + counter.get_total_flops() * self.progress.step

    def _batch(self, step: int) -> list[int]:
        """The numbers of one step's rows. Every epoch has its own order, which follows from the seed alone."""
        size, n = self.settings.batch_size, len(self.rows)
        picked = []
        for position in range(step * size, (step + 1) * size):
            epoch, place = divmod(position, n)
            picked.append(self._order(epoch)[place])
        return picked

    def _order(self, epoch: int) -> list[int]:
        if getattr(self, "_epoch", None) != epoch:
            generator = torch.Generator().manual_seed(self.settings.seed * 1_000_003 + epoch)
            self._epoch, self._permutation = epoch, torch.randperm(len(self.rows), generator=generator).tolist()
        return self._permutation

    def _validate(self) -> None:
        started = time.perf_counter()
        scores = self._scores()
        best = not self.progress.best_scores or _rank(scores) > _rank(self.progress.best_scores)
        self.progress.waited = 0 if best else self.progress.waited + 1
        if best:
            self.progress.best_step, self.progress.best_scores, self.best = self.progress.step, scores, self._tensors()
        if self.progress.waited >= self.settings.patience:
            self.progress.stopped = "early"
        self.progress.seconds += time.perf_counter() - started
        for reporter in self.reporters:
            reporter.validation(self.progress.step, scores, best)
        if self.progress.stopped:
            self._checkpoint()

    def _scores(self) -> dict[str, float]:
        """Loss and, for labels, accuracy on the validation rows; without any, the last step counts as the best."""
        if not self.validation:
            return {"step": float(self.progress.step)}
        if isinstance(self.readout, LabelReadout):
            predictor = Predictor(self.backbone, self.task, self.prompt, readout=self.readout)
            predictions = list(predictor.predict(self.validation))
            truth = [self.readout.index[str(example.label)] for example in self.validation]
            right = [p.label == e.label for p, e in zip(predictions, self.validation, strict=True)]
            loss = negative_log_likelihood([p.probabilities for p in predictions], truth)
            return {"accuracy": sum(right) / len(right), "loss": loss}
        return {"loss": self._written_loss()}

    @torch.no_grad()
    def _written_loss(self) -> float:
        rows = list(self.renderer.render(self.validation))
        total = 0.0
        for start in range(0, len(rows), self.settings.batch_size):
            batch = rows[start : start + self.settings.batch_size]
            packed = self.readout.rows(batch, self.renderer.shared)
            hidden = self.backbone.hidden(packed, self.prompt.injection())
            total += self.readout.row_losses(self.backbone, hidden, batch).sum().item()
        return total / len(rows)

    def _tensors(self) -> dict[str, Tensor]:
        return {name: value.detach().clone() for name, value in self.trained.state_dict().items()}

    def _checkpoint(self) -> None:
        if self.folder is not None:
            save_checkpoint(self.folder, self.key, self.progress, self._tensors(), self.best, self.optimizer)

    def _resume(self) -> None:
        found = load_checkpoint(self.folder, self.key) if self.folder is not None else None
        if found is None:
            return
        self.progress, parts = found
        device: Any = self.backbone.device
        self.trained.load_state_dict(parts["trained"])
        self.best = {name: value.to(device) for name, value in parts["best"].items()}
        restore_optimizer(self.optimizer, parts["optimizer"])

    @property
    def _steps(self) -> int:
        assert self.settings.steps is not None, "settings are resolved before a run"
        return self.settings.steps

    @property
    def _every(self) -> int:
        assert self.settings.evaluate_every is not None, "settings are resolved before a run"
        return self.settings.evaluate_every


def _rank(scores: dict[str, float]) -> tuple[float, ...]:
    """Scores as something to compare: accuracy first, then the lower loss."""
    return (scores.get("step", 0.0), scores.get("accuracy", 0.0), -scores.get("loss", 0.0))
