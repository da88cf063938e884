"""`check`: what spoils a task, found before it is tuned. One pass over the rows, everything by hashing."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import Any

from cuetune.tasks.rendering import encode
from cuetune.tasks.row_error import RowError
from cuetune.tasks.splits import text_key
from cuetune.tasks.task import Example, Task

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
    """What was found in the parts that were checked. `rows` counts by part, `labels` by label."""

    rows: dict[str, int] = field(default_factory=dict)
    labels: dict[str, int] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    longest: int | None = None

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
    parts: Mapping[str, Iterable[Example | RowError]], task: Task, tokenizer: Any = None, faults: Faults | None = None
) -> Report:
    """Check labelled examples by part ("train", "test", …): copies, conflicting and rare labels, empty and long texts.

    parts: examples, and what is wrong with rows that are none (see `examples.understood`). tokenizer: without one,
    lengths in tokens are not checked. faults: what is wrong with the content of each of some examples, None where
    nothing is; for rows that are no texts. Memory grows with the number of different texts (a hash each), time with the
    number of rows.
    """
    report = Report()
    first: dict[int, tuple[str, str, str | None]] = {}
    trouble: dict[str, _Trouble] = defaultdict(_Trouble)
    counts: Counter[str] = Counter()
    train_counts: Counter[str] = Counter()
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
                counts[str(example.label)] += example.label is not None
                train_counts[str(example.label)] += part == next(iter(parts))
            report.rows[part] += len(read)
            _measure(chunk, task, tokenizer, trouble, report)
    report.labels = {} if task.generates else {label: counts[label] for label in task.labels}
    report.findings = [_finding(kind, trouble[kind], task) for kind in KINDS if trouble[kind].count]
    if not task.generates:
        report.findings += _label_findings(task, train_counts)
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


def _measure(
    chunk: Sequence[Example], task: Task, tokenizer: Any, trouble: dict[str, _Trouble], report: Report
) -> None:
    if tokenizer is None:
        return
    texts = ["\n".join(example.fields.values()) for example in chunk]
    for example, ids in zip(chunk, encode(tokenizer, texts, control_tokens=False), strict=True):
        report.longest = max(report.longest or 0, len(ids))
        if len(ids) > task.max_tokens:
            trouble["long"].add(f"{example.where} ({len(ids):,} tokens)")


LEAVE_OUT = "or leave them out with --skip-broken"
KINDS = {
    "column": ("error", "rows without a column that the task needs", f"add it, {LEAVE_OUT}"),
    "text": ("error", "rows whose {noun} is missing or none", f"fill or replace it, {LEAVE_OUT}"),
    "unlabelled": ("error", "rows without a label", f"add it, {LEAVE_OUT}"),
    "unknown": ("error", "rows with an unknown label", f"correct it, {LEAVE_OUT}"),
    "broken": ("error", "rows whose {noun} cannot be read", "replace or remove them, or pass --skip-broken"),
    "leak": ("error", "{noun}s that stand in two parts", "remove them from one part: scores on copies are too good"),
    "conflict": ("error", "{noun}s with different labels", "decide which label is right, or remove both"),
    "empty": ("warning", "rows without {noun}", "remove them: nothing can be read there"),
    "copy": ("warning", "copies of a {noun} in the same part", "remove them, unless they are meant to weigh more"),
    "long": ("note", "texts longer than {limit} tokens", "their middle will be cut; raise --max-tokens to read more"),
}


def _finding(kind: str, trouble: _Trouble, task: Task) -> Finding:
    severity, what, advice = KINDS[kind]
    return Finding(
        severity, what.format(limit=task.max_tokens, noun=task.noun), trouble.count, tuple(trouble.places), advice
    )


def _label_findings(task: Task, counts: Counter[str]) -> list[Finding]:
    found = []
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
    if counts and most > 0.9 * counts.total():
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
