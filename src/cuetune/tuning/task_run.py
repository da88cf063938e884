"""One task in a run: its rows as the backbone reads them, how its answers are read, and how the prompt does on it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from cuetune.backbones.packing import Rows
from cuetune.backbones.text import TextBackbone
from cuetune.errors import CuetuneError
from cuetune.prediction import Predictor, renderer_for
from cuetune.prompts.base import Prompt
from cuetune.readouts import GeneratedText, LabelReadout, LinearHead, readout_for
from cuetune.tasks.rendering import Rendered
from cuetune.tasks.task import Example, Task
from cuetune.tuning.settings import Settings
from cuetune.tuning.states import FrozenStates


@dataclass(frozen=True)
class TaskData:
    """A task and its labelled examples: to learn from, and to choose the best step on."""

    task: Task
    train: Sequence[Example]
    validation: Sequence[Example] = ()

    @property
    def all_rows(self) -> Sequence[Example]:
        """Both, for what chooses no step."""
        return [*self.train, *self.validation] if self.validation else self.train


class Run(Protocol):
    """One task's part in the loop, whatever its rows are: `TaskRun` for texts, and one class for each other modality.

    training_readout: how rows are laid out in a step, and losses read: `readout`, or what costs less where only the
        true label has to be scored.
    rows: what is tuned on, each with `where`, `label` and `cut`. states: of `freeze`.
    """

    task: Task
    readout: Any
    training_readout: Any
    rows: list[Any]
    validation: list[Example]
    states: Any

    @property
    def head(self) -> Any:
        """The classifier that is trained with the prompt, or None."""

    def states_of(self, prompt: Prompt, numbers: Sequence[int]) -> Tensor:
        """(B, d) what the readout reads of these rows under the prompt."""

    def rendered(self, numbers: Sequence[int]) -> list[Any]:
        """These of the rows."""

    def pack(self, rows: Sequence[Any]) -> Any:
        """Rows as they go through the backbone."""

    def freeze(self, layer: int, folder: Path | None) -> None:
        """Compute the states below `layer`, which the prompt cannot change, once."""

    def frozen_flops(self) -> float:
        """Operations that `freeze` took."""

    def scores(self, prompt: Prompt) -> dict[str, float]:
        """Loss on the validation rows and, unless text is written, a score to follow: of one label the accuracy."""


class TaskRun:
    """A task's part in a run on this backbone.

    prompt: that of this task. settings: resolved; `validation_rows` are those of this task.
    """

    def __init__(
        self, backbone: TextBackbone, prompt: Prompt, data: TaskData, settings: Settings, validation_rows: int
    ) -> None:
        if not data.train:
            raise CuetuneError(f"{data.task.name}: no rows to tune on.")
        self.backbone, self.task, self.settings = backbone, data.task, settings
        self.readout = readout_for(backbone, data.task, settings.readout, pooling=settings.pooling, seed=settings.seed)
        self.training_readout: Any = self.readout.for_training()
        injection = prompt.injection()
        backbone.check(injection)
        self.n_tokens = injection.n_tokens
        prompt_length, self.cut_answers = injection.n_tokens + injection.n_kv, 0
        if isinstance(self.readout, GeneratedText):
            self.cut_answers = self.readout.fit([str(row.label) for row in data.all_rows], prompt_length)
        self.renderer = renderer_for(backbone, data.task, prompt_length + self.readout.n_answer)
        self.rows = list(self.renderer.render(data.train))
        self.validation = list(data.validation)[:validation_rows]
        self.states: FrozenStates | None = None

    @property
    def head(self) -> LinearHead | None:
        """The classifier that is trained with the prompt, or None where words are scored or written."""
        return self.readout if isinstance(self.readout, LinearHead) else None

    @torch.no_grad()
    def states_of(self, prompt: Prompt, numbers: Sequence[int]) -> Tensor:
        packed = self.pack(self.rendered(numbers))
        return self.backbone.hidden(packed, prompt.for_rows(self.backbone, packed))

    def rendered(self, numbers: Sequence[int]) -> list[Rendered]:
        return [self.rows[number] for number in numbers]

    def pack(self, rows: Sequence[Rendered]) -> Rows:
        """These rows as they go through the backbone."""
        return self.training_readout.rows(rows, self.renderer.shared)

    def freeze(self, layer: int, folder: Path | None) -> None:
        """Compute the states below `layer` once; what is left of a step are the layers above."""
        shared = self.renderer.shared
        self.states = FrozenStates(
            self.backbone, self.training_readout, self.rows, shared, layer, self.n_tokens, folder=folder
        )

    def frozen_flops(self) -> float:
        """Operations of what is computed once below a late prompt, counted on some rows."""
        from torch.utils.flop_counter import FlopCounterMode

        if self.states is None:
            return 0.0
        rows = self.rows[: self.settings.batch_size]
        with FlopCounterMode(display=False) as below:
            self.backbone.states_at(self.states.layer, self.pack(rows), self.n_tokens)
        return below.get_total_flops() * len(self.rows) / len(rows)

    def scores(self, prompt: Prompt) -> dict[str, float]:
        """Loss and a score (`Answers.validation`) on the validation rows. prompt: that of this task."""
        if not isinstance(self.readout, LabelReadout):
            return {"loss": self._written_loss(prompt)}
        predictor = Predictor(self.backbone, self.task, prompt, readout=self.readout)
        predictions = list(predictor.predict(self.validation))
        return self.task.answers.validation(predictions, [example.label for example in self.validation])

    @torch.no_grad()
    def _written_loss(self, prompt: Prompt) -> float:
        rows = list(self.renderer.render(self.validation))
        size, total = self.settings.batch_size, 0.0
        for start in range(0, len(rows), size):
            batch = rows[start : start + size]
            packed = self.pack(batch)
            hidden = self.backbone.hidden(packed, prompt.for_rows(self.backbone, packed))
            total += self.readout.row_losses(self.backbone, hidden, batch).sum().item()
        return total / len(rows)
