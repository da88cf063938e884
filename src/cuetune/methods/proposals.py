"""From what a model wrote to instructions that can be used: unwrapped, cleaned, or dropped and counted by reason."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from cuetune.data.row import Example
from cuetune.data.task import FIELD, Task
from cuetune.data.templating import encode

THINKING = re.compile(r"<think>.*?(</think>|\Z)", re.DOTALL)
TAGGED = re.compile(r"<INS>([^<]*(?:<(?!/?INS>)[^<]*)*)</INS>", re.IGNORECASE)  # in time that grows with the text
LEADING = re.compile(
    r"^(?:[-*•>#]+\s+|\(?\d{1,2}[.):]\s+)?(?:\**(?:the )?instructions?(?: was| is)?\**\s*(?:\d+\s*)?:\**\s*)?", re.I
)
QUOTES = {'"': '"', "'": "'", "“": "”", "«": "»", "`": "`", "*": "*"}
NESTED = 8  # quotes inside each other that are taken off
SAME_WORDS = 8  # this many words in a row of an example are a copy of it


def instructions_in(text: str) -> list[str]:
    """The instructions of one reply: those between <INS> and </INS>, or else its lines."""
    text = THINKING.sub("", text)
    return TAGGED.findall(text) or text.splitlines()


def cleaned(text: str) -> str:
    """One instruction on one line, without list marks, a heading or quotes around it."""
    text = LEADING.sub("", " ".join(text.split()), count=1).strip()
    for _ in range(NESTED):
        if len(text) > 1 and QUOTES.get(text[0]) == text[-1]:
            text = text[1:-1].strip()
    return text


@dataclass
class Sieve:
    """Keeps usable instructions, each once, and counts why others went.

    shown: the examples that proposers see; an instruction that repeats one is dropped, since a saved prompt holds no
    training example. max_tokens: the longest instruction for this tokenizer.
    """

    tokenizer: Any
    task: Task
    shown: Sequence[Example] = ()
    max_tokens: int = 64
    dropped: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._seen: set[str] = set()
        self._answers = {_plain(word) for word in (*self.task.labels, *self.task.label_words)}
        texts = [text for example in self.shown for text in example.fields.values()]
        self._copied = {run for text in texts for run in _runs(text)}
        self._control = set(self.tokenizer.all_special_ids)

    def know(self, texts: Iterable[str]) -> None:
        """These are there already; proposing them again is no news."""
        self._seen.update(map(_plain, texts))

    def keep(self, texts: Iterable[str]) -> list[str]:
        """The instructions among `texts` that are new and usable, cleaned."""
        kept = []
        for text in map(cleaned, texts):
            reason = self._objection(text)
            if reason:
                self.dropped[reason] += 1
                continue
            self._seen.add(_plain(text))
            kept.append(text)
        return kept

    def _objection(self, text: str) -> str:
        plain = _plain(text)
        if not plain:
            return "empty"
        if plain in self._seen:
            return "seen before"
        if plain in self._answers:
            return "only a label"
        if FIELD.search(text) or any(mark in text for mark in ("<INS>", "</INS>")):
            return "holds a field of the template"
        ids = encode(self.tokenizer, [text], control_tokens=True, begins=True)[0]
        if self._control & set(ids):
            return "holds a control token"
        if len(ids) > self.max_tokens:
            return "too long"
        return "copies an example" if self._copied & set(_runs(text)) else ""


def _plain(text: str) -> str:
    """Words alone, in lower case: what counts as the same instruction."""
    return " ".join(re.findall(r"\w+", text.lower()))


def _runs(text: str) -> list[str]:
    """Every run of `SAME_WORDS` words; of a shorter text of three words or more, the text."""
    words = _plain(text).split()
    if len(words) < 3:
        return []
    return [" ".join(words[start : start + SAME_WORDS]) for start in range(max(1, len(words) - SAME_WORDS + 1))]
