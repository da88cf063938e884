"""One task on texts in a run: rows as tokens."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from cuetune.backbones.batches import TokenBatch
from cuetune.backbones.text import TextBackbone
from cuetune.data.readers.registry import reader_of
from cuetune.data.templating import InputRow
from cuetune.prediction.text import Predictor, renderer_for
from cuetune.prompts.base import Prompt
from cuetune.readouts import GeneratedText, readout_for
from cuetune.tuning.runs.base import Run, TaskData, in_batches
from cuetune.tuning.runs.cache import StateCache
from cuetune.tuning.settings import Settings

TOKENS_AT_ONCE = 4096
SHARED = -1  # stands for the beginning that all rows share among the numbers of rows


class TextRun(Run[TokenBatch]):
    """A task's part in a run on this backbone.

    prompt: that of this task. settings: resolved; `validation_rows` are those of this task. cut_answers: how many
    answers are longer than what is learned of them.
    """

    backbone: TextBackbone

    def __init__(
        self,
        backbone: TextBackbone,
        prompt: Prompt,
        data: TaskData,
        settings: Settings,
        validation_rows: int,
        folder: Path | None = None,
    ) -> None:
        readout = readout_for(backbone, data.task, settings.readout, pooling=settings.pooling, seed=settings.seed)
        super().__init__(backbone, data, settings, validation_rows, readout)
        self.training_readout = readout.for_training()
        self.few = settings.batch_size
        injection = prompt.injection()
        backbone.check(injection)
        self.n_tokens = injection.n_tokens
        prompt_length, self.cut_answers = injection.n_tokens + injection.n_kv, 0
        if isinstance(readout, GeneratedText):
            self.cut_answers = readout.fit([str(row.label) for row in data.all_rows], prompt_length)
        self.renderer = renderer_for(backbone, data.task, prompt_length + readout.n_answer)
        self.rows = list(self.renderer.render(data.train))

    def cut_notes(self) -> list[str]:
        count = sum(row.cut > 0 for row in self.rows)
        lines = [reader_of(self.task).cut(count, self.task, self.renderer.max_text)] if count else []
        if isinstance(self.readout, GeneratedText) and self.cut_answers:
            lines.append(
                f"{self.cut_answers:,} answers are longer than {self.readout.max_answer:,} tokens (the model's "
                "positions leave no more): what stands behind is not learned."
            )
        return lines

    def pack(self, numbers: Sequence[int]) -> TokenBatch:
        return self._packed(self.rows_of(numbers))

    def _packed(self, rows: Sequence[InputRow]) -> TokenBatch:
        return self.training_readout.rows(rows, self.renderer.shared)

    def freeze(self, layer: int, folder: Path | None) -> None:
        self.states = StateCache(layer, torch.cat, [SHARED], folder)
        for numbers in batches_of(self.rows, range(len(self.rows))):
            packed = self.pack(numbers)
            parts = self.below(layer, numbers).cpu().split([len(packed.shared), *packed.lengths])
            for number, states in zip([SHARED, *numbers], parts, strict=True):
                self.states.table.put(number, states)

    def below(self, layer: int, numbers: Sequence[int]) -> Tensor:
        """(S + N, d) of the beginning that rows share and of these rows, one behind the other."""
        return self.backbone.states_at(layer, self.pack(numbers), self.n_tokens)

    def scores(self, prompt: Prompt) -> dict[str, float]:
        if isinstance(self.readout, GeneratedText):
            return {"loss": self._written_loss(prompt)}
        predictor = Predictor(self.backbone, self.task, prompt, readout=self.readout)
        return self.measured(list(predictor.predict(self.validation)))

    @torch.no_grad()
    def _written_loss(self, prompt: Prompt) -> float:
        rows, total = list(self.renderer.render(self.validation)), 0.0
        for numbers in in_batches(len(rows), self.settings.batch_size):
            batch = [rows[number] for number in numbers]
            packed = self._packed(batch)
            hidden = self.backbone.hidden(packed, prompt.for_rows(self.backbone, packed))
            total += self.readout.row_losses(self.backbone, hidden, batch).sum().item()
        return total / len(rows)


def batches_of(rows: Sequence[InputRow], numbers: Iterable[int]) -> Iterator[list[int]]:
    """These rows in their order, as many at a time as stay within `TOKENS_AT_ONCE`."""
    batch: list[int] = []
    tokens = 0
    for number in numbers:
        if batch and tokens + len(rows[number].ids) > TOKENS_AT_ONCE:
            yield batch
            batch, tokens = [], 0
        batch.append(number)
        tokens += len(rows[number].ids)
    if batch:
        yield batch
