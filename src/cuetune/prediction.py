"""Answers for any number of rows in constant memory: a compiled prompt, packed batches, results in the rows' order."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import torch

from cuetune.backbones.generation import Writing, generate
from cuetune.backbones.text import TextBackbone
from cuetune.prompts.base import Prompt
from cuetune.readouts import LabelReadout, Readout, readout_for
from cuetune.tasks.rendering import Rendered, Renderer
from cuetune.tasks.task import Example, Task

ROWS_AT_ONCE = 512  # read, tokenised and sorted by length together
TOKENS_AT_ONCE = 4096  # in one packed pass


@dataclass(frozen=True)
class Prediction:
    """The answer for one row: a label with the probability of every label, or written text (`probabilities` empty)."""

    where: str
    label: str
    probabilities: tuple[float, ...] = ()
    cut: int = 0


class Predictor:
    """One prompt, compiled, ready to answer.

    prompt: any static prompt; its keys and values and the template's beginning are computed here, once. An encoder
    reads virtual tokens and the beginning anew with every row.
    writing: how text is generated, for tasks without labels. readout: the one that was trained with the prompt, if any.
    """

    def __init__(
        self,
        backbone: TextBackbone,
        task: Task,
        prompt: Prompt,
        writing: Writing | None = None,
        readout: Readout | None = None,
    ) -> None:
        self.backbone = backbone
        self.task = task
        self.writing = writing or Writing()
        self.readout = readout or readout_for(backbone, task)
        self.prompt = prompt
        injections = [member.injection() for member in prompt.members]
        for injection in injections:
            backbone.check(injection)
        answer = self.readout.n_answer if isinstance(self.readout, LabelReadout) else self.writing.max_tokens
        self.renderer = renderer_for(backbone, task, prompt.length + answer)
        self.shared = () if backbone.causal else self.renderer.shared  # what is not compiled
        self.compiled = [backbone.compile(injection, self.renderer.shared) for injection in injections]

    def predict(self, examples: Iterable[Example]) -> Iterator[Prediction]:
        """One prediction for each example, in order; memory does not grow with their number."""
        rendered = self.renderer.render(examples)
        while chunk := list(islice(rendered, ROWS_AT_ONCE)):
            answers: list[Prediction | None] = [None] * len(chunk)
            for batch in batches_by_length(chunk):
                rows = [chunk[number] for number in batch]
                for number, answer in zip(batch, self._answer(rows), strict=True):
                    answers[number] = answer
            yield from (answer for answer in answers if answer is not None)

    def _answer(self, rows: list[Rendered]) -> list[Prediction]:
        if isinstance(self.readout, LabelReadout):
            return self._classify(rows, self.readout)
        ids = [[*self.shared, *row.ids] for row in rows]
        written = [generate(self.backbone, ids, compiled, self.writing) for compiled in self.compiled]
        texts = [commonest([text.strip() for text in each]) for each in zip(*written, strict=True)]
        return [Prediction(row.where, text, (), row.cut) for row, text in zip(rows, texts, strict=True)]

    @torch.inference_mode()
    def _classify(self, rows: list[Rendered], readout: LabelReadout) -> list[Prediction]:
        packed = readout.rows(rows, self.shared)
        states = self.backbone.hidden_mixed([(packed, compiled) for compiled in self.compiled])
        members = torch.stack([readout.scores(self.backbone, hidden).softmax(dim=-1) for hidden in states])
        probabilities = self.prompt.combine(members).cpu()
        best = probabilities.argmax(dim=-1).tolist()
        return [
            Prediction(row.where, self.task.labels[label], tuple(each), row.cut)
            for row, label, each in zip(rows, best, probabilities.tolist(), strict=True)
        ]


def commonest(texts: Sequence[str]) -> str:
    """The text that most members of an ensemble wrote; the first of them where several did."""
    return max(dict.fromkeys(texts), key=texts.count)


def renderer_for(backbone: TextBackbone, task: Task, used: int) -> Renderer:
    """The task's renderer, with the text limited to the positions that prompt and answer leave free."""
    shared = len(Renderer(backbone.tokenizer, task).shared)
    return Renderer(backbone.tokenizer, task, backbone.max_positions - used - shared)


def batches_by_length(rows: Sequence[Rendered]) -> Iterator[list[int]]:
    """Numbers of rows in batches of similar length, each within `TOKENS_AT_ONCE`."""
    batch: list[int] = []
    tokens = 0
    for number in sorted(range(len(rows)), key=lambda number: len(rows[number].ids)):
        size = len(rows[number].ids)
        if batch and tokens + size > TOKENS_AT_ONCE:
            yield batch
            batch, tokens = [], 0
        batch.append(number)
        tokens += size
    if batch:
        yield batch
