"""How long texts and answers are in tokens, which of them a model cuts, and which hold tokens that it does not have."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from cuetune.backbones.tokens import token_ids, unknown_token
from cuetune.data.row import Example
from cuetune.data.task import Task
from cuetune.data.templating import Renderer
from cuetune.errors import CuetuneError

SHOWN = 3
PROMPT = 20  # virtual tokens of a prompt where the user says nothing


@dataclass
class Lengths:
    """Lengths of rows in tokens, and where each length is seen first. Memory grows with the number of lengths."""

    counts: Counter[int] = field(default_factory=Counter)
    places: dict[int, list[tuple[int, str]]] = field(default_factory=lambda: defaultdict(list))
    rows: int = 0

    def add(self, where: str, length: int) -> None:
        self.counts[length] += 1
        self.rows += 1
        if len(self.places[length]) < SHOWN:
            self.places[length].append((self.rows, f"{where} ({length:,} tokens)"))

    @property
    def longest(self) -> int | None:
        return max(self.counts, default=None)

    def above(self, limit: int) -> tuple[int, tuple[str, ...]]:
        """How many rows are longer, and the first of them."""
        longer = [length for length in self.counts if length > limit]
        first = sorted(place for length in longer for place in self.places[length])[:SHOWN]
        return sum(self.counts[length] for length in longer), tuple(place for _, place in first)


class Measure:
    """What a model reads of labelled examples. outline: of the model (`backbones.outline`), or None for any.

    texts, answers: lengths in tokens. unknown: rows with tokens that the model has no embedding for.
    """

    def __init__(self, task: Task, tokenizer: Any, outline: Any = None) -> None:
        self.task, self.tokenizer, self.outline = task, tokenizer, outline
        self.texts, self.answers = Lengths(), Lengths()
        self.unknown: list[str] = []
        self.n_unknown = 0

    def add(self, examples: Sequence[Example]) -> None:
        names = self.task.fields
        lengths = [0] * len(examples)
        for name in names:
            ids = token_ids(self.tokenizer, [example.fields[name] for example in examples], control_tokens=False)
            for number, example in enumerate(examples):
                lengths[number] += len(ids[number])
                self._look_for_unknown(example, name, ids[number])
        for example, length in zip(examples, lengths, strict=True):
            self.texts.add(example.where, length)
        if self.task.generates:
            known = [example for example in examples if example.label is not None]
            said = [self.task.answer(str(example.label)) for example in known]
            for example, answer in zip(known, token_ids(self.tokenizer, said, control_tokens=False), strict=True):
                self.answers.add(example.where, len(answer) + 1)

    def _look_for_unknown(self, example: Example, name: str, ids: Sequence[int]) -> None:
        if (fault := unknown_token(self.tokenizer, ids)) is not None:
            self.n_unknown += 1
            if len(self.unknown) < SHOWN:
                self.unknown.append(f"{example.where}, column {self.task.columns.get(name, name)!r}: {fault}")

    @property
    def max_answer(self) -> int | None:
        """Tokens of the longest answer that is learned and written, where the model sets a limit."""
        if self.outline is None or not self.task.generates or self.answers.longest is None:
            return None
        return min(self.answers.longest, self.outline.answer_room(PROMPT + self._fixed))

    @property
    def max_text(self) -> int:
        """Tokens of the longest text that is read whole."""
        if self.outline is None:
            return self.task.max_tokens
        answer = 0 if self.outline.answers_apart else max(self.max_answer or 0, self._words)
        return min(self.task.max_tokens, self.outline.text_room(PROMPT + self._fixed, answer))

    @property
    def _fixed(self) -> int:
        return Renderer(self.tokenizer, self.task).n_fixed

    @property
    def _words(self) -> int:
        """Positions that the longest label's words take."""
        words = token_ids(self.tokenizer, self.task.label_words, control_tokens=True)
        return max(map(len, words), default=1) - 1

    def fault(self) -> CuetuneError | None:
        """What is wrong with the task's own words for this model."""
        try:
            Renderer(self.tokenizer, self.task)
            for word in self.task.label_words:
                if fault := unknown_token(self.tokenizer, token_ids(self.tokenizer, [word], control_tokens=True)[0]):
                    return CuetuneError(f"label word {word!r}: {fault}")
        except CuetuneError as error:
            return error
        return None
