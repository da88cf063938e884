"""A task: the user's data with meaning. Columns, template, labels and their words; nothing that is learned."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from cuetune.answers import Answers, answers_of
from cuetune.data.formats.cells import cell_at, format_value, is_missing, text_parts
from cuetune.data.labels.names import label_key
from cuetune.data.media.location import ADDRESS, Inline
from cuetune.data.row import Example, Row, required_cell, unclear
from cuetune.data.row_error import RowError
from cuetune.errors import CuetuneError

FIELD = re.compile(r"\{(\w+)\}")
# Fields whose content is no text, and what people call it; such a field is the whole template.
ALONE = {"image": "image", "audio": "audio file", "video": "video"}
# Left out of what is saved where they are empty: a task with labels, or of text, is saved as it always was.
LATER = ("max_answer", "chat", "kind", "label_columns", "label_delimiter", "thresholds", "scale")


@dataclass(frozen=True)
class Chat:
    """What stands around an answer in a chat template. lead: spaces before it. end: what closes the model's turn."""

    lead: str = ""
    end: str = ""


@dataclass(frozen=True)
class Task:
    """What a row means and what is asked of it.

    template: text with {field} placeholders; it ends where the answer begins, e.g. "Review: {text}\\nSentiment:". For
        rows that are no texts one of the fields `ALONE` and nothing else, as "{image}".
    columns: template field -> column of the data, for fields whose column has another name.
    label_column: the column with the label name, or the target text when `labels` is empty.
    labels: label names as they stand in the data, in a fixed order; empty for free text (generation).
    label_words: the text scored for each label, in the order of `labels`.
    instruction: said before the text by hard prompts; the words that a soft prompt may start from.
    max_tokens: the longest text in tokens; the middle of a longer one is cut, counted and reported.
    max_answer: the longest written answer in tokens, its end included, of the data that was tuned on; None: not known.
    scoring: how label words of several tokens are normalised: "walk", each token among those that a label goes on with
        (`readouts.words`), or "vocabulary", as prompts that say nothing of it were tuned (`readouts.vocabulary_words`).
    chat: how answers stand in the template where that is the model's chat template (`tasks.chat`), which then says the
        instruction; None for any other.
    kind: one of `answers.KINDS`; empty: classification where there are labels, else generation.
    label_columns: of a multi-label task whose rows have a column of 0 and 1 for each label, in the labels' order.
    label_delimiter: of a multi-label task whose cells hold several names: what stands between them.
    thresholds: of a multi-label task, the probability from which each label is given; empty: one half.
    scale: of a regression task, mean and standard deviation of the numbers that were tuned on.
    """

    template: str = "Text: {text}\nLabel:"
    label_column: str = "label"
    labels: tuple[str, ...] = ()
    label_words: tuple[str, ...] = ()
    instruction: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)
    max_tokens: int = 512
    name: str = "task"
    max_answer: int | None = None
    scoring: str = "walk"
    chat: Chat | None = None
    kind: str = ""
    label_columns: tuple[str, ...] = ()
    label_delimiter: str = ""
    thresholds: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not FIELD.search(self.template):
            raise CuetuneError(f"template {self.template!r} names no column; write one in braces, e.g. '{{text}}'.")
        if self.labels and not self.label_words:
            object.__setattr__(self, "label_words", tuple(default_words(self.labels)))
        if len(self.labels) != len(self.label_words):
            raise CuetuneError(f"{len(self.labels)} labels but {len(self.label_words)} label words; give one for each.")
        for what, names in (("label", self.labels), ("label word", self.label_words)):
            twice = sorted(name for name, count in Counter(names).items() if count > 1)
            if twice:
                raise CuetuneError(f"{what} {twice[0]!r} appears twice; each label needs its own.")
        if self.kind:
            self.answers.checked()

    @property
    def fields(self) -> tuple[str, ...]:
        """The template's field names, each once, in order of appearance."""
        return tuple(dict.fromkeys(FIELD.findall(self.template)))

    @property
    def modality(self) -> str:
        """What a row is: "text", or the one field that stands for it alone."""
        alone = FIELD.fullmatch(self.template.strip())
        return alone[1] if alone and alone[1] in ALONE else "text"

    @property
    def noun(self) -> str:
        """What people call the content of a row: "text", "image", …."""
        return ALONE.get(self.modality, "text")

    def answer(self, text: str) -> str:
        """A written answer as it stands behind the template: a space in front, as words stand in running text."""
        return (" " if self.chat is None else self.chat.lead) + text.strip()

    @cached_property
    def answers(self) -> Answers:
        """What is answered: one label, several labels, a number, or text."""
        return answers_of(self)

    @property
    def generates(self) -> bool:
        """True when the answer is free text."""
        return self.answers.kind == "generation"

    def example(self, row: Row, *, labelled: bool = True) -> Example:
        """Read one row under this task. Raises RowError naming row and column for anything it cannot mean."""
        if row.fault:
            raise unclear(row)
        value = _text if self.modality == "text" else _content
        fields = {name: value(row, self.columns.get(name, name)) for name in self.fields}
        return Example(row.where, fields, self.answers.target(row) if labelled else None)

    def label_of(self, row: Row) -> Any:
        """What is right for a row; None where it has no label, or one that the task does not know."""
        try:
            return self.answers.target(row)
        except RowError:
            return None

    @property
    def known_labels(self) -> str:
        """The labels for a message, the first of many."""
        return ", ".join(map(repr, self.labels[:8])) + (", …" if len(self.labels) > 8 else "")

    @cached_property
    def _by_key(self) -> dict[str, str]:
        """Each label by what all of its spellings have in common."""
        return {label_key(label): label for label in reversed(self.labels)}

    def named(self, name: str) -> str | None:
        """The label that a name stands for, in whatever spelling; None for one that the task does not know."""
        return name if name in self.labels else self._by_key.get(label_key(name))

    def read_label(self, row: Row) -> str:
        """The label or target text of a row. Raises RowError for a row without one, or with one that is not known."""
        where = f"{row.where}, column {self.label_column!r}"
        label = format_value(required_cell(row, self.label_column, "unlabelled", "label"))
        if self.labels and not label.strip():
            raise RowError("unlabelled", f"{where}: no label", "expected one in every row.")
        if not self.labels or label in self.labels:
            return label
        if label_key(label) not in self._by_key:
            raise RowError("unknown", f"{where}: unknown label {label[:80]!r}", f"expected one of {self.known_labels}.")
        return self._by_key[label_key(label)]

    def to_dict(self) -> dict[str, Any]:
        """As JSON-ready values; `Task.from_dict` reads them back. What was added later stands there where it is set."""
        values = {name: list(each) if isinstance(each, tuple) else each for name, each in asdict(self).items()}
        return {name: each for name, each in values.items() if each or name not in LATER}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Task":
        """A task that `to_dict` wrote, in an earlier version too."""
        tuples = ("labels", "label_words", "label_columns", "thresholds", "scale")
        chat = Chat(**values["chat"]) if values.get("chat") else None
        read = {key: tuple(values.get(key, ())) for key in tuples}
        return cls(**{"scoring": "vocabulary", **values, **read, "chat": chat})


def default_words(labels: Sequence[str]) -> list[str]:
    """Label names as label words: a leading space, as words stand in running text; underscores read as spaces."""
    return [" " + label.replace("_", " ").strip() for label in labels]


def _text(row: Row, column: str) -> str:
    """The value of a column as text. An object, a list or bytes are no text."""
    value = required_cell(row, column, "text", "text")
    if isinstance(value, Mapping | list | tuple | set | bytes | bytearray):
        inside = list(text_parts(value, column))
        advice = f"name a text in it, e.g. --text {inside[0]}." if inside else "expected a text."
        raise RowError("text", f"{row.where}, column {column!r}: a {type(value).__name__} and no text", advice)
    text = format_value(value)
    if not text.isascii():
        _check_whole(text, row, column)
    return text


def _check_whole(text: str, row: Row, column: str) -> None:
    """Raise RowError for half of a character, which no tokenizer reads: a byte that was no UTF-8, or half of a pair."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        found = ord(text[error.start])
        half = f"byte 0x{found - 0xDC00:02x}" if 0xDC80 <= found <= 0xDCFF else f"\\u{found:04x}"
        short = f"{row.where}, column {column!r}: {half} is no character of a text"
        raise RowError("text", short, "write it in UTF-8, or remove it.") from error


def _content(row: Row, column: str) -> Any:
    """The value of a column that is no text: a path, or what the data holds; None of an empty cell.

    What is wrong with it is told when it is opened, so that such a row can be left out.
    """
    value = None if is_missing(cell_at(row.values, column)) else required_cell(row, column, "text", "content")
    if not isinstance(value, str):
        return value
    if isinstance(value, Inline):
        return value.content
    return value if ADDRESS.match(value) or value.startswith("data:") else Path(value) if value.strip() else None


def said(value: Any) -> str:
    """A field's value for a person: text as it is, of other content where it lies."""
    if isinstance(value, dict):
        value = value.get("path") or value.get("bytes")
    return str(value) if isinstance(value, str | Path) else f"<{type(value).__name__}>"
