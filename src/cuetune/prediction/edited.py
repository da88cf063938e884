"""Answers of an edited prompt: those of its base, overridden where an edit is active."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import torch
from torch import Tensor

from cuetune.answers.prediction import Prediction
from cuetune.backbones.generation import Writing
from cuetune.backbones.text import TextBackbone
from cuetune.data.row import Example
from cuetune.data.task import Task
from cuetune.prediction.text import ROWS_AT_ONCE, Predictor, batches_by_length
from cuetune.prompts.corrected import CorrectedPrompt, queries_of
from cuetune.readouts import Readout, TextReadout


class EditedPredictor(Predictor):
    """A corrected prompt, ready to answer.

    Every row is answered by the base, compiled, exactly as before there were fixes; one more pass of the bare model
    tells which rows the fixes reach, and those alone are answered anew. So a row that no fix reaches gets the former
    answer bit by bit.
    """

    prompt: CorrectedPrompt

    def __init__(
        self,
        backbone: TextBackbone,
        task: Task,
        prompt: CorrectedPrompt,
        writing: Writing | None = None,
        readout: Readout | None = None,
    ) -> None:
        super().__init__(backbone, task, prompt, writing, readout)
        self.former = Predictor(backbone, task, prompt.base, self.writing, self.readout)

    def answered(self, examples: Iterable[Example], *, best_only: bool = False) -> Iterator[tuple[Example, Prediction]]:
        source = iter(examples)
        while chunk := list(islice(source, ROWS_AT_ONCE)):
            answers = list(self.former.predict(chunk, best_only=best_only))
            reached = (self.weights(chunk).amax(dim=1) > 0).nonzero().squeeze(1).tolist()
            anew = super().answered([chunk[number] for number in reached])
            for number, (_, answer) in zip(reached, anew, strict=True):
                answers[number] = answer
            yield from zip(chunk, answers, strict=True)

    def weights(self, examples: Sequence[Example]) -> Tensor:
        """(N, M) how much each component of every fix acts on these rows."""
        queries = queries_for(self, examples).to(self.backbone.device)
        return torch.cat(self.prompt.weights_at(queries), dim=1).cpu()


@torch.inference_mode()
def queries_for(predictor: Predictor, examples: Sequence[Example]) -> Tensor:
    """(N, D) queries of examples, as this predictor has them read."""
    assert isinstance(predictor.readout, TextReadout)
    rows = list(predictor.renderer.render(examples))
    queries = torch.empty(len(rows), predictor.backbone.state_width)
    for numbers in batches_by_length(rows):
        packed = predictor.readout.rows([rows[number] for number in numbers], predictor.renderer.shared)
        queries[numbers] = queries_of(predictor.backbone, packed).cpu()
    return queries
