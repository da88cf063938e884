"""From examples to tokens: the template's words, the row's text, and nothing a row says can become a control token."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from cuetune.backbones.tokens import surroundings
from cuetune.errors import CuetuneError
from cuetune.tasks.task import FIELD, Example, Task

CHUNK = 512  # examples tokenised at once


@dataclass(frozen=True)
class Rendered:
    """One example as tokens: what follows the shared beginning, up to where the answer starts.

    ids: the row's tokens. roles: "template" or "text" for each of them. cut: tokens taken out of an overlong text.
    """

    where: str
    ids: list[int]
    roles: list[str]
    label: str | None
    cut: int = 0


class Renderer:
    """A task's template for one tokenizer.

    room: the longest row in tokens, when the backbone's positions leave less than `task.max_tokens` for the text.
    `shared` are the tokens every row begins with: the tokenizer's own beginning and the template's leading words.
    """

    def __init__(self, tokenizer: Any, task: Task, room: int | None = None) -> None:
        self.tokenizer = tokenizer
        self.task = task
        self._pieces = _pieces(task.template)
        leading = self._pieces.pop(0)[1] if self._pieces[0][0] == "template" else ""
        self.template_start = self._encode([leading], "template")[0]
        self.shared: list[int] = surroundings(tokenizer)[0] + self.template_start
        self._literals = {
            text: self._encode([text], "template")[0] for role, text in self._pieces if role == "template"
        }
        fixed = sum(len(ids) for ids in self._literals.values())
        self.max_text = task.max_tokens if room is None else min(task.max_tokens, room - fixed)
        if self.max_text < 1:
            raise CuetuneError(f"the template and prompt leave no room for the text ({room} positions); shorten them.")

    def render(self, examples: Iterable[Example]) -> Iterator[Rendered]:
        """Tokens of each example, in order; memory does not grow with their number."""
        chunk: list[Example] = []
        for example in examples:
            chunk.append(example)
            if len(chunk) == CHUNK:
                yield from self._render_chunk(chunk)
                chunk = []
        yield from self._render_chunk(chunk)

    def _render_chunk(self, chunk: Sequence[Example]) -> Iterator[Rendered]:
        columns = [
            self._encode([(" " if role == "spaced" else "") + example.fields[name] for example in chunk], "text")
            for role, name in self._pieces
            if role != "template"
        ]
        for row, example in enumerate(chunk):
            texts, cut = cut_middle([column[row] for column in columns], self.max_text)
            yield self._join(example, texts, cut)

    def _join(self, example: Example, texts: list[list[int]], cut: int) -> Rendered:
        ids: list[int] = []
        roles: list[str] = []
        remaining = iter(texts)
        for role, text in self._pieces:
            piece = self._literals[text] if role == "template" else next(remaining)
            ids += piece
            roles += ["template" if role == "template" else "text"] * len(piece)
        if not ids:
            raise CuetuneError(f"{example.where}: nothing to read: the text is empty and so is the template around it.")
        return Rendered(example.where, ids, roles, example.label, cut)

    def _encode(self, texts: list[str], role: str) -> list[list[int]]:
        return encode(self.tokenizer, texts, control_tokens=role == "template")


def encode(tokenizer: Any, texts: list[str], *, control_tokens: bool) -> list[list[int]]:
    """Token ids of each text, without the tokenizer's own beginning and end.

    control_tokens: whether "<|im_end|>" in a text is that token (templates) or just characters (users' data).
    """
    if not texts:
        return []
    encoded = tokenizer(
        texts,
        add_special_tokens=False,
        return_attention_mask=False,
        verbose=False,
        split_special_tokens=not control_tokens,
    )
    return [list(ids) for ids in encoded["input_ids"]]


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
