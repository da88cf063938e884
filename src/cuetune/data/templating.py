"""From examples to tokens: the template's words, the row's text, and nothing a row says can become a control token."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from cuetune.backbones.tokens import UnknownTokenError, begins_anew, refuse_unknown, surroundings, token_ids
from cuetune.data.row import Example
from cuetune.data.task import FIELD, Task
from cuetune.errors import CuetuneError

CHUNK = 512  # examples tokenised at once


@dataclass(frozen=True)
class InputRow:
    """One example as a run or a predictor handles it.

    ids: of a text its tokens, from behind the shared beginning up to where the answer starts. cut: what did not fit:
    tokens taken out of an overlong text; of a video with too few frames, how many were taken again.
    """

    where: str
    label: str | None
    ids: list[int] = field(default_factory=list)
    cut: int = 0


class Renderer:
    """A task's template for one tokenizer.

    room: the longest row in tokens, when the backbone's positions leave less than `task.max_tokens` for the text.
    begins: whether the row stands at the beginning of all that is read, or behind other words.
    `shared` are the tokens every row begins with: the tokenizer's own beginning and the template's leading words.
    """

    def __init__(self, tokenizer: Any, task: Task, room: int | None = None, *, begins: bool = True) -> None:
        self.tokenizer = tokenizer
        self.task = task
        self._pieces = _pieces(task.template)
        leading = self._pieces.pop(0)[1] if self._pieces[0][0] == "template" else ""
        self.template_start = encode(tokenizer, [leading], control_tokens=True, begins=begins)[0]
        before = [] if task.chat else surroundings(tokenizer)[0]  # a chat template writes its own beginning
        self.shared: list[int] = before + self.template_start
        self._begins = begins and not leading
        self._literals = {
            text: encode(tokenizer, [text], control_tokens=True)[0] for role, text in self._pieces if role == "template"
        }
        fixed = sum(len(self._literals[text]) for role, text in self._pieces if role == "template")
        self.n_fixed = len(self.shared) + fixed  # tokens of every row that are not the text's
        self.max_text = task.max_tokens if room is None else min(task.max_tokens, room - fixed)
        if self.max_text < 1:
            raise CuetuneError(f"the template and prompt leave no room for the text ({room} positions); shorten them.")

    def render(self, examples: Iterable[Example]) -> Iterator[InputRow]:
        """Tokens of each example, in order; memory does not grow with their number."""
        chunk: list[Example] = []
        for example in examples:
            chunk.append(example)
            if len(chunk) == CHUNK:
                yield from self._render_chunk(chunk)
                chunk = []
        yield from self._render_chunk(chunk)

    def _render_chunk(self, chunk: Sequence[Example]) -> Iterator[InputRow]:
        for example, (pieces, cut) in zip(chunk, self.pieces(chunk), strict=True):
            ids = [token for _, piece in pieces for token in piece]
            if not ids:
                raise CuetuneError(
                    f"{example.where}: nothing to read: the text is empty and so is the template around it."
                )
            yield InputRow(example.where, example.label, ids, cut)

    def pieces(self, chunk: Sequence[Example]) -> Iterator[tuple[list[tuple[str, list[int]]], int]]:
        """Each example's tokens in pieces, each "template" or "text", and how many were taken out of its text."""
        columns, before, begins = [], self.template_start, self._begins
        for role, name in self._pieces:
            if role == "template":
                before, begins = self._literals[name], False
                continue
            columns.append(self._column(chunk, name, role == "spaced", begins or begins_anew(self.tokenizer, before)))
            before, begins = [], False
        for row in range(len(chunk)):
            texts, cut = cut_middle([column[row] for column in columns], self.max_text)
            yield self._in_pieces(texts), cut

    def _column(self, chunk: Sequence[Example], name: str, spaced: bool, begins: bool) -> list[list[int]]:
        """The tokens of one field of each example. Raises CuetuneError naming the row whose tokens no model has."""
        texts = [(" " if spaced else "") + example.fields[name] for example in chunk]
        try:
            return encode(self.tokenizer, texts, control_tokens=False, begins=begins)
        except UnknownTokenError as fault:
            column = self.task.columns.get(name, name)
            raise CuetuneError(f"{chunk[fault.number].where}, column {column!r}: {fault}") from fault

    def _in_pieces(self, texts: list[list[int]]) -> list[tuple[str, list[int]]]:
        remaining = iter(texts)
        return [
            ("template", self._literals[text]) if role == "template" else ("text", next(remaining))
            for role, text in self._pieces
        ]


def encode(tokenizer: Any, texts: list[str], *, control_tokens: bool, begins: bool = False) -> list[list[int]]:
    """As `token_ids`, of texts that the tokenizer's model can read. Raises UnknownTokenError for one that it cannot."""
    ids = token_ids(tokenizer, texts, control_tokens=control_tokens, begins=begins)
    refuse_unknown(tokenizer, ids)
    return ids


def answer_ids(tokenizer: Any, task: Task, answers: Sequence[str], *, control_tokens: bool) -> list[list[int]]:
    """Token ids of answers as they stand behind the task's template."""
    last = FIELD.split(task.template)[-1]
    before = token_ids(tokenizer, [last], control_tokens=True)[0]
    return encode(tokenizer, list(answers), control_tokens=control_tokens, begins=begins_anew(tokenizer, before))


def cut_middle(texts: list[list[int]], limit: int) -> tuple[list[list[int]], int]:
    """Take the middle out of the longest texts until all together have `limit` tokens; returns them and how many went.

    Beginning and end of a text carry more of its meaning than its middle: titles, openings, verdicts.
    """
    excess = sum(map(len, texts)) - limit
    if excess <= 0:
        return texts, 0
    lengths = [len(text) for text in texts]
    level = _level(lengths, limit)
    sizes = [min(length, level) for length in lengths]
    sizes[sizes.index(max(sizes))] += limit - sum(sizes)  # what integer division left over
    return [_without_middle(text, size) for text, size in zip(texts, sizes, strict=True)], excess


def _level(sizes: list[int], limit: int) -> int:
    """The largest L with sum(min(size, L)) <= limit."""
    remaining, count = limit, len(sizes)
    for size in sorted(sizes):
        if size * count > remaining:
            return remaining // count
        remaining -= size
        count -= 1
    return max(sizes)


def _without_middle(text: list[int], size: int) -> list[int]:
    if len(text) <= size:
        return text
    head = (size + 1) // 2
    return text[:head] + text[len(text) - (size - head) :]


def _pieces(template: str) -> list[tuple[str, str]]:
    """The template as ("template", words), ("field", name) and ("spaced", name) pieces.

    A space before a field goes to the field: tokenizers join a space to the word behind it.
    """
    pieces: list[tuple[str, str]] = []
    for index, part in enumerate(FIELD.split(template)):
        if index % 2 == 0:
            if part:
                pieces.append(("template", part))
        elif pieces and pieces[-1][0] == "template" and re.search(r"\S $", pieces[-1][1]):
            pieces[-1] = ("template", pieces[-1][1][:-1])
            pieces.append(("spaced", part))
        else:
            pieces.append(("field", part))
    return pieces
