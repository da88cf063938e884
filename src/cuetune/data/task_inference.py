"""What a newcomer need not say: which columns hold text and label, the label names, template and instruction."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from cuetune.data.chat_template import chat_template, is_chat, message_of
from cuetune.data.examples import columns_of
from cuetune.data.formats.cells import ABSENT, cell_at, format_value, is_missing, text_parts
from cuetune.data.formats.column_names import looks_like_data, may_be_meant
from cuetune.data.labels.cells import listed, number
from cuetune.data.labels.names import given_labels, in_order, label_key, paired_words
from cuetune.data.row import Row, clear_rows
from cuetune.data.task import FIELD, Task, default_words
from cuetune.data.task_kind import infer_asked
from cuetune.errors import CuetuneError

TEXT_NAMES = (
    "text",
    "sentence",
    "review",
    "content",
    "message",
    "document",
    "comment",
    "tweet",
    "body",
    "prompt",  # before the input, which is a part of it in Alpaca's rows
    "input",
    "question",
    "title",
    "instruction",
    "smiles",
    "source",
)
LABEL_NAMES = (
    "label",
    "labels",
    "class",
    "category",
    "sentiment",
    "target",
    "topic",
    "intent",
    "output",
    "completion",
    "answer",
    "response",
    "y",
)
HEAD_ABOVE = 20  # labels; see the benchmarks, "Many labels"
FEW_LABELS, MANY_LABELS = 20, 200  # so few are never free text; more than so many are where most occur once
LOOKED_AT = 1000  # rows, for what may be wrong with a table


def infer_task(
    rows: Sequence[Row],
    *,
    text: str | None = None,
    label: str | None = None,
    template: str | None = None,
    labels: Sequence[str] | None = None,
    label_words: Sequence[str] | Mapping[str, str] | None = None,
    instruction: str | None = None,
    columns: Mapping[str, str] | None = None,
    max_tokens: int = 512,
    generate: bool = False,
    kind: str | None = None,
    labels_from: Sequence[str] | None = None,
    label_delimiter: str | None = None,
    name: str = "task",
    tokenizer: Any = None,
) -> Task:
    """A task from labelled rows; what is given is taken, the rest inferred. Raises CuetuneError if ambiguous.

    labels: their names; those of the rows are sorted, numbers by value. label_words: one for each label in that order,
    or "label=word" pairs. text, label: also a part of an object in a column, as "translation.fr". kind: one of
    `answers.KINDS`; generate=True says "generation". labels_from, label_delimiter: see `tasks.asked`.
    template: "chat" asks for the chat template of `tokenizer`, with the instruction as the system's text and the text
    alone, or what stands in "chat: MESSAGE", as the user's.
    """
    rows, in_chat = clear_rows(rows), is_chat(template)
    if in_chat:
        template = message_of(str(template))
    if not rows:
        raise CuetuneError("no rows to learn the task from.")
    if generate and kind not in (None, "generation"):
        raise CuetuneError(f"--generate writes text, and --task says {kind}; leave one of them.")
    found = _Columns(rows)
    text, columns = text and found.spelled(text), {f: found.spelled(column) for f, column in (columns or {}).items()}
    labels_from = [found.spelled(column) for column in labels_from or ()]
    asked = infer_asked(
        rows,
        lambda given: found.named("label", given, LABEL_NAMES),
        label=label,
        labels=labels,
        kind="generation" if generate else kind,
        labels_from=labels_from,
        label_delimiter=label_delimiter,
        text=text,
    )
    label, generate = asked.column, generate or kind == "generation"
    if template is None:
        if text is None and "text" in columns:
            text = columns["text"]
        text = found.named("text", text, TEXT_NAMES, taken=(label, *asked.label_columns))
        field = text if text.isidentifier() else "text"
        columns = {field: text} if field != text else {}
        usual = f"{_title(text, 'Text')}: {{{field}}}\n{_title(label, 'Label')}:"
        template = f"{{{field}}}" if in_chat else usual
    else:
        if text is not None:
            columns.setdefault(FIELD.findall(template)[0] if FIELD.search(template) else "text", text)
        fields = {field: found.spelled(field) for field in FIELD.findall(template)}
        columns = {**{field: column for field, column in fields.items() if field != column}, **columns}
    template = template.replace("\\n", "\n")
    if asked.kind:
        labels = asked.labels
    elif not generate:
        sure = kind == "classification"
        labels = given_labels(labels, list(_known(rows, label))) if labels else _labels(rows, label, sure=sure)
    names = tuple(labels or ())
    words = paired_words(names, label_words, default_words(names)) if label_words else tuple(default_words(names))
    if instruction is None:
        instruction = _instruction(text or "text", names, words, generate, label, asked.kind)
    chat = None
    if in_chat:
        template, chat = chat_template(tokenizer, template, instruction)
        words = tuple(chat.lead + word.strip() for word in words)
    task = Task(template, label, names, words, instruction, columns, max_tokens, name, chat=chat)
    return replace(task, **asked.fields) if asked.kind else task


class _Columns:
    """The columns of rows, and which of them is meant."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = rows
        self.names = columns_of(rows)

    def spelled(self, given: str) -> str:
        """The column of this name as the data spells it, where only its case differs and one column is meant."""
        alike = [name for name in self.names if name.lower() == given.lower()]
        absent = len(alike) == 1 and all(cell_at(row.values, given) is ABSENT for row in self.rows)
        return alike[0] if absent else given

    def named(self, what: str, given: str | None, names: Sequence[str], taken: Sequence[str] = ()) -> str:
        """The column that is meant, by name or by a name that such columns usually have; of an object its only text."""
        if given is not None:
            given = self.spelled(given)
            if all(cell_at(row.values, given) is ABSENT for row in self.rows):
                raise CuetuneError(
                    f"no column {given!r}; the data has {self._listed()}. Name one of them with --{what} NAME."
                    f"{self._hint()}"
                )
            return self._inside(given, what)
        lowered = {column.lower(): column for column in reversed(self.names)}
        for name in names:
            if name in lowered and lowered[name] not in taken:
                return self._inside(lowered[name], what)
        rest = [column for column in self.names if column not in taken and may_be_meant(column)]
        if what == "text" and len(rest) == 1 and not self._headless(taken):
            return self._inside(rest[0], what)
        raise CuetuneError(
            f"cannot tell which column is the {what}: the data has {self._listed()}. Name it with --{what} NAME."
            f"{self._lists(taken) if what == 'label' else ''}{self._hint()}"
        )

    def _inside(self, column: str, what: str) -> str:
        """A column, or the only text of the objects in it. Raises CuetuneError where there are several."""
        cells = (cell_at(row.values, column) for row in self.rows)
        value = next((cell for cell in cells if cell is not ABSENT and not is_missing(cell)), None)
        parts = list(text_parts(value, column))
        if len(parts) > 1:
            raise CuetuneError(
                f"column {column!r} holds objects with {', '.join(map(repr, parts))}; name one, e.g. with --{what} "
                f"{parts[0]}."
            )
        return parts[0] if parts else column

    def _listed(self) -> str:
        return ", ".join(map(repr, self.names))

    def _lists(self, taken: Sequence[str]) -> str:
        """Which column of lists may hold several labels a row."""
        for name in self.names:
            cells = [row.values.get(name) for row in self.rows[:LOOKED_AT]]
            if name not in taken and any(listed(cell) is not None for cell in cells if not is_missing(cell)):
                return f" Column {name!r} holds lists, as several labels a row do: pass --label {name}."
        return ""

    def _headless(self, taken: Sequence[str]) -> bool:
        """Whether the label's name stands in its column too, beside a column that has no usual name either."""
        return any(row.values.get(name) == name for row in self.rows for name in taken)

    def _hint(self) -> str:
        """What else may be wrong with a table of such columns."""
        cells = [[str(row.values.get(name, "")) for name in self.names] for row in self.rows[:LOOKED_AT]]
        if looks_like_data(self.names, cells):
            named = ",".join(_guessed_names(self.names))
            return f" The first row looks like data: for a table without a header row pass --column-names {named}."
        if self.rows[0].note:
            return f" ({self.rows[0].note})"
        return " If another character stands between its cells, pass --delimiter." if len(self.names) == 1 else ""


def _guessed_names(cells: Sequence[str]) -> list[str]:
    """Names for the columns of a table without a header: its longest cell is the text."""
    longest = max(range(len(cells)), key=lambda number: len(cells[number]))
    others = iter(["label", *(f"column{number}" for number in range(3, len(cells) + 1))])
    return ["text" if number == longest else next(others) for number in range(len(cells))]


def _title(column: str, otherwise: str) -> str:
    """A column's name as a word in the template."""
    plain = column.replace("_", " ").strip()
    return plain[:1].upper() + plain[1:] if plain.replace(" ", "").isalpha() else otherwise


def _known(rows: Sequence[Row], label: str) -> Counter[str]:
    """The names in the label column, one spelling of each, and how often they stand there. Empty cells are no names."""
    counts: Counter[str] = Counter()
    spelled: dict[str, str] = {}
    for row in rows:
        value = cell_at(row.values, label)
        if value is not ABSENT and not is_missing(value) and (name := format_value(value).strip()):
            counts[spelled.setdefault(label_key(name), name)] += 1
    return counts


def _labels(rows: Sequence[Row], label: str, sure: bool = False) -> tuple[str, ...]:
    """The labels that stand in a column. sure: they are labels, however many there are."""
    counts = _known(rows, label)
    if not counts:
        raise CuetuneError(f"column {label!r}: no row has a label; fill it, or name another column with --label.")
    if len(counts) == 1:
        raise CuetuneError(
            f"column {label!r} has one label only, {next(iter(counts))!r}: there is nothing to tell apart. "
            "Add rows of another label, or name another column with --label."
        )
    if not sure and _free_text(counts):
        raise CuetuneError(
            f"column {label!r} has {len(counts)} different values in {len(rows)} rows: this looks like "
            + _looks_like(counts)
        )
    return in_order(list(counts))


def _free_text(counts: Counter[str]) -> bool:
    """Whether values that occur so often are texts to be written, and not labels."""
    once = sum(count == 1 for count in counts.values())
    many = len(counts) > MANY_LABELS and once > len(counts) / 2
    return len(counts) > FEW_LABELS and (len(counts) > counts.total() / 2 or many)


def _looks_like(values: Collection[str]) -> str:
    """What so many different values may be, and which option says so."""
    others = [value for value in values if number(value) is None]
    if not others:
        return "numbers; pass --task regression, --generate to write them, or name another column with --label."
    if len(others) < len(values) / 2:
        return (
            f"numbers beside others such as {others[0]!r}; pass --task regression, with --skip-unreadable to leave "
            "those rows out, or name another column with --label."
        )
    return "free text; pass --generate, or name another column with --label."


def _instruction(
    text: str, labels: Sequence[str], words: Sequence[str], generate: bool, label: str, kind: str = ""
) -> str:
    if kind == "regression":
        return f"Read the {text.replace('_', ' ')} and give the {label.replace('_', ' ')} as a number."
    if kind == "multi-label":
        named = f": {', '.join(word.strip() for word in words)}" if len(words) <= 20 else ""
        return f"Read the {text.replace('_', ' ')} and tell all its labels{named}."
    if generate:
        return f"Read the {text.replace('_', ' ')} and write the {label.replace('_', ' ')}."
    said = [word.strip() for word in words]
    if len(said) > 20:
        return f"Classify the {text.replace('_', ' ')}."
    return f"Classify the {text.replace('_', ' ')} as {', '.join(said[:-1])} or {said[-1]}."


def _labels_alone(labels: Sequence[str], counts: Counter[Any]) -> list[str]:
    """Labels that a head tells apart: their names and rows."""
    shown = [f"  {label!r}" + (f": {counts[label]:,} rows" if counts else "") for label in labels[:20]]
    return [*shown, f"  … {len(labels)} labels in all"] if len(labels) > 20 else shown


def head_proposal(task: Task, backbone: Any = None, kind: str = "auto") -> list[str]:
    """A line that proposes a trained head for texts of so many labels that it usually learns more than words.

    backbone: None where it is not known yet; an encoder-decoder has no head. kind: as of `readouts.readout_for`.
    """
    if task.modality != "text" or len(task.labels) <= HEAD_ABOVE or kind != "auto":
        return []
    if backbone is not None and (backbone.answers_apart or not backbone.has_words):
        return []
    learns = f"above {HEAD_ABOVE} a trained head usually learns more in as many steps"
    return [f"{len(task.labels)} labels: {learns}; try --readout head"]


def describe(task: Task, examples: Sequence[Any] = ()) -> list[str]:
    """What was understood, as lines for a person."""
    columns = ", ".join(repr(task.columns.get(field, field)) for field in task.fields)
    lines = [f"reading {columns} and {'writing' if task.generates else 'telling'} {task.label_column!r}"]
    if more := task.answers.described([example.label for example in examples]):
        template = [f"template {task.template!r}, instruction {task.instruction!r}"] if task.modality == "text" else []
        return [*lines, *more, *template]
    counts = Counter(example.label for example in examples)
    if task.modality != "text":
        return [*lines, *_labels_alone(task.labels, counts)]
    usual = default_words(task.labels)
    pairs = list(zip(task.labels, task.label_words, strict=True))
    shown = [pair for number, pair in enumerate(pairs) if number < 20 or pair[1] != usual[number]]
    for label, word in shown:
        rows = f", {counts[label]:,} rows" if counts else ""
        lines.append(f"  {label!r} scored as {word!r}{rows}")
    if len(task.labels) > len(shown):
        lines.append(f"  … {len(task.labels)} labels in all")
    if any(label.strip().lstrip("-").isdigit() for label in task.labels):
        lines.append("  labels are numbers: words that say what they mean (--label-words) usually score better")
    return [*lines, f"template {task.template!r}, instruction {task.instruction!r}"]
