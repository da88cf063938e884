"""What a newcomer need not say: which columns hold text and label, the label names, template and instruction."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from cuetune.errors import CuetuneError
from cuetune.tasks.task import FIELD, Row, Task, default_words, format_value

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
    "input",
    "prompt",
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
FEW_LABELS, MANY_LABELS = 20, 200  # so few are never free text; more than so many are where most occur once


def infer_task(
    rows: Sequence[Row],
    *,
    text: str | None = None,
    label: str | None = None,
    template: str | None = None,
    labels: Sequence[str] | None = None,
    label_words: Sequence[str] | None = None,
    instruction: str | None = None,
    columns: Mapping[str, str] | None = None,
    max_tokens: int = 512,
    generate: bool = False,
    name: str = "task",
) -> Task:
    """A task from labelled rows; what is given is taken, the rest inferred. Raises CuetuneError if ambiguous."""
    if not rows:
        raise CuetuneError("no rows to learn the task from.")
    found = list(rows[0].values)
    label = _column("label", label, found, LABEL_NAMES, taken=())
    columns = dict(columns or {})
    if template is None:
        if text is None and "text" in columns:
            text = columns["text"]
        text = _column("text", text, found, TEXT_NAMES, taken=(label,))
        field = text if text.isidentifier() else "text"
        columns = {field: text} if field != text else {}
        template = f"{_title(text, 'Text')}: {{{field}}}\n{_title(label, 'Label')}:"
    elif text is not None:
        columns.setdefault(FIELD.findall(template)[0] if FIELD.search(template) else "text", text)
    template = template.replace("\\n", "\n")
    if not generate:
        labels = tuple(labels) if labels else _labels(rows, label)
    words = tuple(label_words) if label_words else tuple(default_words(labels or ()))
    if instruction is None:
        instruction = _instruction(text or "text", labels or (), words, generate, label)
    return Task(template, label, tuple(labels or ()), words, instruction, columns, max_tokens, name)


def _column(what: str, given: str | None, found: Sequence[str], names: Sequence[str], taken: Sequence[str]) -> str:
    """The column that is meant, by name or by a name that such columns usually have."""
    if given is not None:
        if given not in found:
            raise CuetuneError(
                f"no column {given!r}; the data has {', '.join(map(repr, found))}. Name one of them with --{what} NAME."
            )
        return given
    lowered = {column.lower(): column for column in found}
    for name in names:
        if name in lowered and lowered[name] not in taken:
            return lowered[name]
    rest = [column for column in found if column not in taken]
    if what == "text" and len(rest) == 1:
        return rest[0]
    raise CuetuneError(
        f"cannot tell which column is the {what}: the data has {', '.join(map(repr, found))}. Name it with "
        f"--{what} NAME."
    )


def _title(column: str, otherwise: str) -> str:
    """A column's name as a word in the template."""
    plain = column.replace("_", " ").strip()
    return plain[:1].upper() + plain[1:] if plain.replace(" ", "").isalpha() else otherwise


def _labels(rows: Sequence[Row], label: str) -> tuple[str, ...]:
    counts: Counter[str] = Counter()
    for row in rows:
        if label not in row.values:
            raise CuetuneError(f"{row.where}: no column {label!r}; every row needs it.")
        value = row.values[label]
        if value is None or value == "" or (isinstance(value, float) and value != value):
            raise CuetuneError(f"{row.where}, column {label!r}: no label; fill or remove the row.")
        counts[format_value(value)] += 1
    if len(counts) == 1:
        raise CuetuneError(
            f"column {label!r} has one label only, {next(iter(counts))!r}: there is nothing to tell apart. "
            "Add rows of another label, or name another column with --label."
        )
    if _free_text(counts):
        raise CuetuneError(
            f"column {label!r} has {len(counts)} different values in {len(rows)} rows: this looks like free "
            "text; pass --generate, or name another column with --label."
        )
    return tuple(sorted(counts))


def _free_text(counts: Counter[str]) -> bool:
    """Whether values that occur so often are texts to be written, and not labels."""
    once = sum(count == 1 for count in counts.values())
    many = len(counts) > MANY_LABELS and once > len(counts) / 2
    return len(counts) > FEW_LABELS and (len(counts) > counts.total() / 2 or many)


def _instruction(text: str, labels: Sequence[str], words: Sequence[str], generate: bool, label: str) -> str:
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


def describe(task: Task, examples: Sequence[Any] = ()) -> list[str]:
    """What was understood, as lines for a person."""
    columns = ", ".join(repr(task.columns.get(field, field)) for field in task.fields)
    lines = [f"reading {columns} and {'writing' if task.generates else 'telling'} {task.label_column!r}"]
    counts = Counter(example.label for example in examples)
    if task.modality != "text":
        return [*lines, *_labels_alone(task.labels, counts)]
    for label, word in list(zip(task.labels, task.label_words, strict=True))[:20]:
        rows = f", {counts[label]:,} rows" if counts else ""
        lines.append(f"  {label!r} scored as {word!r}{rows}")
    if len(task.labels) > 20:
        lines.append(f"  … {len(task.labels)} labels in all")
    if any(label.strip().lstrip("-").isdigit() for label in task.labels):
        lines.append("  labels are numbers: words that say what they mean (--label-words) usually score better")
    return [*lines, f"template {task.template!r}, instruction {task.instruction!r}"]
