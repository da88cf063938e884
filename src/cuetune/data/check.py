"""`check`: what spoils a task, found before it is tuned. One pass over the rows, everything by hashing."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import Any

from cuetune.data.lengths import PROMPT, Measure
from cuetune.data.row import Example
from cuetune.data.row_error import RowError
from cuetune.data.splits import text_key
from cuetune.data.task import Task

RARE = 5
SHOWN = 5
CHUNK = 512


@dataclass(frozen=True)
class Finding:
    """One kind of trouble: how often, how bad ("error", "warning", "note"), where it is seen first, what to do."""

    severity: str
    what: str
    count: int
    examples: tuple[str, ...]
    advice: str


@dataclass
class Report:
    """What was found in the parts that were checked. `rows` counts by part, `labels` by label.

    longest: tokens of the longest text. max_answer: of the longest written answer that the model has room for.
    """

    rows: dict[str, int] = field(default_factory=dict)
    labels: dict[str, int] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    longest: int | None = None
    max_answer: int | None = None

    @property
    def ok(self) -> bool:
        """True when nothing was found that would make results wrong."""
        return not any(finding.severity == "error" for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "ok": self.ok}


# What is wrong with each of some examples; None where nothing is.
Faults = Callable[[Sequence[Example]], Sequence[Exception | None]]


class _Trouble:
    """Counts one kind of trouble and keeps the first few places."""

    def __init__(self) -> None:
        self.count = 0
        self.places: list[str] = []

    def add(self, place: str) -> None:
        self.count += 1
        if len(self.places) < SHOWN:
            self.places.append(place)


def check_data(
    parts: Mapping[str, Iterable[Example | RowError]],
    task: Task,
    tokenizer: Any = None,
    faults: Faults | None = None,
    outline: Any = None,
) -> Report:
    """Check labelled examples by part ("train", "test", …): copies, conflicting and rare labels, empty and long texts.

    parts: examples, and what is wrong with rows that are none (see `examples.understood`). tokenizer: without one,
    lengths in tokens are not checked. faults: what is wrong with the content of each of some examples, None where
    nothing is; for rows that are no texts. outline: of the model (`backbones.outline`), for what it cuts. Memory grows
    with the number of different texts (a hash each), time with the number of rows.
    """
    report = Report()
    measure = Measure(task, tokenizer, outline) if tokenizer is not None else None
    first: dict[int, tuple[str, str, str | None]] = {}
    trouble: dict[str, _Trouble] = defaultdict(_Trouble)
    counts: Counter[Any] = Counter()
    train_counts: Counter[Any] = Counter()
    for part, examples in parts.items():
        report.rows[part] = 0
        source = iter(examples)
        while read := list(islice(source, CHUNK)):
            chunk = [each for each in read if isinstance(each, Example)]
            for row in (each for each in read if isinstance(each, RowError)):
                trouble[row.kind].add(row.short)
            for fault in filter(None, faults(chunk) if faults else ()):
                trouble["broken"].add(str(fault))
            for example in chunk:
                _look_at(example, part, first, trouble)
                if example.label is not None:
                    counts[example.label] += 1
                    train_counts[example.label] += part == next(iter(parts))
            report.rows[part] += len(read)
            if measure is not None:
                measure.add(chunk)
    report.labels = task.answers.counts(counts)
    report.findings = [_finding(kind, trouble[kind], task) for kind in KINDS if trouble[kind].count]
    if measure is not None:
        report.longest, report.max_answer = measure.texts.longest, measure.max_answer
        report.findings += _length_findings(measure)
    if task.labels:
        report.findings += _label_findings(task, Counter(task.answers.counts(train_counts)))
    return report


def _look_at(
    example: Example, part: str, first: dict[int, tuple[str, str, str | None]], trouble: dict[str, _Trouble]
) -> None:
    key = text_key(example)
    if not key.strip("\x1f "):
        trouble["empty"].add(example.where)
        return
    seen = first.setdefault(hash(key), (part, example.where, example.label))
    if seen[1] == example.where and seen[0] == part:
        return
    places = f"{seen[1]} and {example.where}"
    if seen[2] != example.label and seen[2] is not None and example.label is not None:
        trouble["conflict"].add(f"{places} ({seen[2]!r} and {example.label!r})")
    trouble["leak" if seen[0] != part else "copy"].add(places)


LEAVE_OUT = "or leave them out with --skip-unreadable"
KINDS = {
    "column": ("error", "rows without a column that the task needs", f"add it, {LEAVE_OUT}"),
    "text": ("error", "rows whose {noun} is missing or none", f"fill or replace it, {LEAVE_OUT}"),
    "cells": (
        "error",
        "rows with other numbers of cells than the header",
        f"quote texts that hold the delimiter, {LEAVE_OUT}",
    ),
    "unlabelled": ("error", "rows without a label", f"add it, {LEAVE_OUT}"),
    "unknown": ("error", "rows with an unknown label", f"correct it, {LEAVE_OUT}"),
    "broken": ("error", "rows whose {noun} cannot be read", "replace or remove them, or pass --skip-unreadable"),
    "leak": ("error", "{noun}s that stand in two parts", "remove them from one part: scores on copies are too good"),
    "conflict": ("error", "{noun}s with different labels", "decide which label is right, or remove both"),
    "empty": ("warning", "rows without {noun}", "remove them: nothing can be read there"),
    "copy": ("warning", "copies of the same {noun} in one part", "remove them, unless they are meant to weigh more"),
}


def _finding(kind: str, trouble: _Trouble, task: Task) -> Finding:
    severity, what, advice = KINDS[kind]
    return Finding(
        severity, what.format(limit=task.max_tokens, noun=task.noun), trouble.count, tuple(trouble.places), advice
    )


def _length_findings(measure: Measure) -> list[Finding]:
    """What the model cuts, because of which limit, and what it cannot read."""
    found, task = [], measure.task
    if (fault := measure.fault()) is not None:
        return [Finding("error", "the task's own words cannot be read", 1, (str(fault),), "change template or words")]
    if measure.n_unknown:
        advice = "remove the tokens, or load the model that was trained with this tokenizer"
        found.append(
            Finding(
                "error", "texts with tokens that the model lacks", measure.n_unknown, tuple(measure.unknown), advice
            )
        )
    count, places = measure.texts.above(limit := measure.max_text)
    if count:
        advice = "their middle will be cut; raise --max-tokens to read more"
        if limit < task.max_tokens:
            positions = f"{measure.outline.max_positions:,} positions"
            advice = f"their middle will be cut: the model's {positions} leave no more beside a prompt of {PROMPT}"
        found.append(Finding("note", f"texts longer than {limit} tokens", count, places, advice))
    if measure.max_answer is not None:
        count, places = measure.answers.above(measure.max_answer)
        if count:
            advice = (
                f"their ends are not learned: the model's {measure.outline.max_positions:,} positions leave no more"
            )
            found.append(Finding("warning", f"answers longer than {measure.max_answer} tokens", count, places, advice))
    return found


def _only_case(task: Task) -> Finding | None:
    """Labels that are the same but for upper and lower case, or spaces around them."""
    spelled: dict[str, list[str]] = defaultdict(list)
    for label in task.labels:
        spelled[" ".join(label.casefold().split())].append(label)
    alike = [labels for labels in spelled.values() if len(labels) > 1]
    if not alike:
        return None
    places = tuple(" and ".join(map(repr, labels)) for labels in alike[:SHOWN])
    what = "labels that differ only in case or spaces"
    return Finding("warning", what, len(alike), places, "give them one spelling, unless they mean different things")


def _label_findings(task: Task, counts: Counter[str]) -> list[Finding]:
    found = [] if (case := _only_case(task)) is None else [case]
    rare = [label for label in task.labels if counts[label] < RARE]
    if rare:
        places = tuple(f"{label!r}: {counts[label]} rows" for label in rare[:SHOWN])
        found.append(
            Finding(
                "warning",
                f"labels with fewer than {RARE} rows to tune on",
                len(rare),
                places,
                "collect more rows of them, or merge them with another label",
            )
        )
    most = max(counts.values(), default=0)
    if counts and most > 0.9 * counts.total() and task.answers.kind == "classification":
        label = counts.most_common(1)[0][0]
        found.append(
            Finding(
                "note",
                "one label has most rows",
                most,
                (f"{label!r}: {most / counts.total():.0%}",),
                "accuracy says little then; read macro-F1",
            )
        )
    return found
