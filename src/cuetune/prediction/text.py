"""Answers about texts: a compiled prompt, packed batches."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import torch

from cuetune.answers.prediction import Prediction
from cuetune.backbones.batches import TokenBatch
from cuetune.backbones.generation import Writing, Written, write
from cuetune.backbones.injection import Injection
from cuetune.backbones.text import TextBackbone
from cuetune.data.row import Example
from cuetune.data.task import Task
from cuetune.data.templating import InputRow, Renderer
from cuetune.errors import CuetuneError
from cuetune.prediction.base import PromptPredictor, commonest
from cuetune.prompts.base import Before, Prompt
from cuetune.readouts import GeneratedText, LabelWords, Readout, TextReadout, readout_for
from cuetune.readouts.best_walk import BestWalk

ROWS_AT_ONCE = 512  # read, tokenised and sorted by length together
TOKENS_AT_ONCE = 4096  # in one packed pass


class Predictor(PromptPredictor[TokenBatch]):
    """One prompt, compiled, ready to answer.

    prompt: its keys and values and the template's beginning are computed here, once. An encoder reads virtual tokens
    and the beginning anew with every row; the beginning is read anew too where each row has words of its own before it.
    writing: how text is generated, for tasks without labels. readout: the one that was trained with the prompt, if any.
    """

    backbone: TextBackbone

    def __init__(
        self,
        backbone: TextBackbone,
        task: Task,
        prompt: Prompt,
        writing: Writing | None = None,
        readout: Readout | None = None,
    ) -> None:
        super().__init__(
            backbone, task, prompt, readout or readout_for(backbone, task, "auto" if task.generates else "words")
        )
        self.writing = writing or Writing()
        self._n_behind = self.readout.n_behind if isinstance(self.readout, TextReadout) else 0
        self.expect()
        self.members = [_member(backbone, each, self.renderer.shared) for each in prompt.members]
        self._walk = self._best_walk()

    def _best_walk(self) -> BestWalk | None:
        """What finds the likeliest label without all the others; None where that is not possible or does not pay."""
        one_prompt = type(self.prompt).combine is Prompt.combine and self.members[0].compiled is not None
        if not one_prompt or self.task.answers.kind != "classification" or type(self.readout) is not LabelWords:
            return None
        return BestWalk(self.readout) if BestWalk.pays(self.readout, self.backbone) else None

    def expect(self, answers: Sequence[str] = ()) -> None:
        """Leave room for answers: for the longest of these, where they are written and `writing` sets no limit."""
        if isinstance(self.readout, GeneratedText):
            self.readout.fit(answers, self.prompt.length, self.writing.max_tokens)
        self.renderer = renderer_for(self.backbone, self.task, self.prompt.length + self.readout.n_answer)

    def answered(self, examples: Iterable[Example], *, best_only: bool = False) -> Iterator[tuple[Example, Prediction]]:
        walk = self._walk if best_only else None
        source = iter(examples)
        while chunk := list(islice(source, ROWS_AT_ONCE)):
            rendered = list(self.renderer.render(chunk))
            rows = [member.rows(chunk, rendered) for member in self.members]
            longest = [max(each, key=lambda row: len(row.ids)) for each in zip(*rows, strict=True)]
            answers: dict[int, Prediction] = {}
            for batch in batches_by_length(longest, len(walk.beginning) if walk else self._n_behind):
                chosen = [[each[number] for number in batch] for each in rows]
                of_batch = self._walked(chosen[0], walk) if walk else self._answer(chosen)
                answers |= dict(zip(batch, of_batch, strict=True))
            yield from ((example, answers[number]) for number, example in enumerate(chunk))

    def _answer(self, rows: list[list[InputRow]]) -> list[Prediction]:
        """Predictions for the same rows as each member reads them."""
        if isinstance(self.readout, TextReadout):
            return self._classify(rows, self.readout)
        writing = replace(self.writing, max_tokens=self.readout.max_answer, ends=tuple(self.readout.ends))
        written = [
            write(self.backbone, [[*member.shared, *row.ids] for row in own], self._static(member), writing)
            for member, own in zip(self.members, rows, strict=True)
        ]
        return [self._said(row, answers) for row, answers in zip(rows[0], zip(*written, strict=True), strict=True)]

    def _said(self, row: InputRow, answers: Sequence[Written]) -> Prediction:
        """What most members wrote to one row."""
        texts = [answer.text.strip() for answer in answers]
        text = commonest(texts)
        ended = answers[texts.index(text)].ended
        limit = self.readout.max_answer if isinstance(self.readout, GeneratedText) and not ended else 0
        return Prediction(row.where, text, (), row.cut, self.limit(row), limit)

    def limit(self, row: InputRow) -> int:
        """Tokens that a row's text was cut to, 0 where it was not."""
        return self.renderer.max_text if row.cut else 0

    def _static(self, member: "Member") -> Injection:
        if member.compiled is None:
            raise CuetuneError(f"a {member.prompt.kind!r} prompt looks at each row and writes no text; give labels.")
        return member.compiled

    @torch.inference_mode()
    def _walked(self, rows: list[InputRow], walk: BestWalk) -> list[Prediction]:
        """The likeliest labels alone."""
        found = walk.answers(self.backbone, rows, self._static(self.members[0]))
        return [
            Prediction(row.where, self.task.labels[label], (), row.cut, self.limit(row), probability=probability)
            for row, (label, probability) in zip(rows, found, strict=True)
        ]

    @torch.inference_mode()
    def _classify(self, rows: list[list[InputRow]], readout: TextReadout) -> list[Prediction]:
        packed = [readout.rows(each, member.shared) for member, each in zip(self.members, rows, strict=True)]
        both = zip(self.members, packed, strict=True)
        values = self.values_of([(batch, member.injection(self.backbone, batch)) for member, batch in both])
        return [
            self.task.answers.prediction(row.where, each, row.cut, self.limit(row))
            for row, each in zip(rows[0], values, strict=True)
        ]


@dataclass(frozen=True)
class Member:
    """One prompt that answers. before: chooses the words that each row has before it. beginning: of every row.

    shared: the beginning, where it is neither compiled nor put behind words of the row's own. compiled: None for a
    prompt that looks at each row.
    """

    prompt: Prompt
    compiled: Injection | None
    shared: Sequence[int]
    beginning: Sequence[int]
    before: Before | None

    def injection(self, backbone: TextBackbone, rows: TokenBatch) -> Injection:
        """What is added to these rows."""
        return self.compiled or self.prompt.for_rows(backbone, rows).detached(backbone.dtype)

    def rows(self, examples: Sequence[Example], rendered: list[InputRow]) -> list[InputRow]:
        """Rows as this prompt has them read: [its own words][the beginning][the row], or as they are."""
        if self.before is None:
            return rendered
        return [
            _behind([*said, *self.beginning], row) for said, row in zip(self.before(examples), rendered, strict=True)
        ]


def _member(backbone: TextBackbone, prompt: Prompt, beginning: Sequence[int]) -> Member:
    injection, before = prompt.injection(), prompt.per_row(backbone)
    backbone.check(injection)
    if prompt.reads_rows:
        return Member(prompt, None, beginning, beginning, before)
    compiled = backbone.compile(injection, beginning if before is None else ())
    return Member(prompt, compiled, () if backbone.causal or before else beginning, beginning, before)


def _behind(tokens: list[int], row: InputRow) -> InputRow:
    return replace(row, ids=[*tokens, *row.ids])


def renderer_for(backbone: TextBackbone, task: Task, used: int) -> Renderer:
    """The task's renderer, with the text limited to the positions that prompt and answer leave free."""
    shared = len(Renderer(backbone.tokenizer, task).shared)
    return Renderer(backbone.tokenizer, task, backbone.max_positions - used - shared)


def batches_by_length(rows: Sequence[InputRow], behind: int = 0) -> Iterator[list[int]]:
    """Numbers of rows in batches of similar length, each within `TOKENS_AT_ONCE`. behind: tokens put behind each."""
    batch: list[int] = []
    tokens = 0
    for number in sorted(range(len(rows)), key=lambda number: len(rows[number].ids)):
        size = len(rows[number].ids) + behind
        if batch and tokens + size > TOKENS_AT_ONCE:
            yield batch
            batch, tokens = [], 0
        batch.append(number)
        tokens += size
    if batch:
        yield batch
