"""Labelled rows as a run takes them: read, understood as a task, and split."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

from cuetune.backbones.base import Backbone
from cuetune.backbones.preparation import preparation_of
from cuetune.backbones.registry import modality_of, modality_of_model
from cuetune.data.examples import examples_of, has_no_labels, row_notes
from cuetune.data.hold_out import HoldOut, cells_together, hold_out_rows, listed
from cuetune.data.provided_splits import kinds_of, said_of
from cuetune.data.readers.base import Reader
from cuetune.data.readers.registry import READERS, reader_for, reader_of
from cuetune.data.reading import first_rows, source_name
from cuetune.data.row import Example, Row, unclear
from cuetune.data.sampling import draw
from cuetune.data.skip_report import Skipped
from cuetune.data.sources import Source, notes_of, source_of
from cuetune.data.splits import Splits, fingerprint
from cuetune.data.task import Task
from cuetune.data.task_inference import LOOKED_AT
from cuetune.errors import CuetuneError
from cuetune.modality import Modality, modality_named
from cuetune.tuning.settings import Settings


@dataclass(frozen=True)
class Data:
    """A task and its labelled examples, split.

    notes: to tell of rows that were left out or converted. parted: by which columns, if the user said so.
    """

    task: Task
    splits: Splits
    source: str
    notes: tuple[str, ...] = ()
    parted: Mapping[str, Any] = field(default_factory=dict)

    @property
    def modality(self) -> Modality:
        return modality_named(self.task.modality)

    @property
    def fingerprint(self) -> str:
        return fingerprint([*self.splits.train, *self.splits.validation, *self.splits.test])

    @property
    def key(self) -> str:
        """Tells a run on this data from runs on other data, or on the same that is parted by other columns."""
        return f"{self.fingerprint} {dict(self.parted)}" if self.parted else self.fingerprint


def prepare(
    data: Any,
    validation: Any,
    test: Any,
    task: Task | str | None,
    settings: Settings,
    *,
    model: str | Backbone | None = None,
    skip_unreadable: bool = False,
    group_by: str | None = None,
    hold_out: HoldOut | None = None,
    folder: Path | None = None,
    **task_options: Any,
) -> Data:
    """Read, infer what is not said, and split. Labels, and the scale of numbers, come from the training data alone.

    model: the one that is to be tuned; where none is named, the rows decide which modality they are of. validation,
    test: None takes those that `data` brings along, else parts of its rows. skip_unreadable: leave rows out that cannot
    be used, for want of a label that is known or of content that can be read. group_by: a column of `data`; rows that
    are equal there stay on one side of the split. hold_out: column -> values of the rows that are the test rows.
    task: a `Task`, or its kind ("regression", …). Content that is no text is decoded here, once, as the model takes it;
    folder: of what is too large for memory. Raises CuetuneError as `read_rows`, `infer_task` and `tasks.parting`.
    """
    if hold_out and test is not None:
        raise CuetuneError("--hold-out and --test both say which rows are held out; give one of them.")
    options = {key: value for key, value in task_options.items() if value is not None}
    encoding = options.pop("encoding", "utf-8")
    if isinstance(task, str):
        task, options["kind"] = None, task
    data = list(data) if isinstance(data, Iterator) else data
    data = source_of(data) if isinstance(data, str | Path) else data  # its notes are kept
    reader = reader_of(task) if task is not None else reader_of_run(data, model, options, encoding)
    parts = {} if hold_out else _parts(reader, data, encoding)
    rows = list(parts.pop("train")) if parts else list(reader.read(data, encoding=encoding))
    notes = [said_of(source_name(data), kinds_of(data), data)] if parts and isinstance(data, Mapping) else []
    notes += row_notes(rows)
    rows, aside = hold_out_rows(rows, hold_out) if hold_out else (rows, None)
    cells = cells_together(rows, group_by) if group_by else None
    if task is None:
        task = _inferred(reader, rows, {**options, **reader.chat_options(model, options)}, skip_unreadable)
    skipped = Skipped() if skip_unreadable else None
    preparation = preparation_of(reader.modality.name, model or reader.modality.model)

    def read(found: Iterable[Row]) -> list[Example]:
        return reader.readable(examples_of(found, task, skipped), task, skipped, preparation, folder)

    examples = read(rows)
    given, more = _given_rows(reader, task, data, parts, {"validation": validation, "test": test}, encoding)
    if aside is not None:
        given["test"] = aside
    kept = {part: read(found) for part, found in given.items()}
    splits = task.answers.split(
        examples,
        validation=0 if "validation" in kept else 0.1,
        test=0 if "test" in kept else 0.2,
        seed=settings.seed,
        together=[cells[example.where] for example in examples] if cells else None,
    )
    splits = Splits(splits.train, kept.get("validation", splits.validation), kept.get("test", splits.test))
    fitted = task.answers.fitted(splits.train)
    every = [*splits.train, *splits.validation, *splits.test]
    notes = [*notes_of(data), *notes, *more, *_unlearned(fitted, examples, splits), *reader.notes(every, fitted)]
    columns = {"group_by": group_by, "hold_out": hold_out and listed(hold_out)}
    parted = {key: value for key, value in columns.items() if value}
    return Data(fitted, splits, source_name(data), (*(skipped.lines() if skipped else ()), *notes), parted)


def _inferred(reader: Reader, rows: Sequence[Row], options: Mapping[str, Any], skip_unreadable: bool) -> Task:
    """The task of the rows. Raises CuetuneError; for the first row whose cells cannot be told apart where there is one,
    which may be why the others make no task.
    """
    try:
        return reader.infer(rows, **options)
    except CuetuneError:
        first = next((row for row in rows if row.fault), None)
        if first is None or skip_unreadable:
            raise
        raise unclear(first) from None


def _given_rows(
    reader: Reader, task: Task, data: Any, own: Mapping[str, Iterator[Row]], named: Mapping[str, Any], encoding: str
) -> tuple[dict[str, list[Row]], list[str]]:
    """The rows of the parts that are not set aside: as the user names them, or the data's own; and what to say."""
    rows, notes = {}, []
    for part, source in named.items():
        if source is not None:
            rows[part] = list(rows_to_score(reader, _beside(data, source), encoding, task, first=part))
        elif part in own and has_no_labels(found := list(own[part]), task):
            notes.append(f"split {part}: no row has a label, so it is left out and rows are set aside instead")
            continue
        elif part in own:
            rows[part] = found
        else:
            continue
        notes += row_notes(rows[part])
    return rows, notes


def rows_to_score(reader: Reader, data: Any, encoding: str, task: Task, *, first: str = "test") -> Iterator[Row]:
    """Labelled rows of a source; of one that has splits those of the first split that has labels. first: is preferred.

    A `Source` notes which split that is.
    """
    parts = reader.parts(data, encoding=encoding)
    for split in (each for each in (first, "test", "validation", "train") if each in parts):
        rows = parts[split]
        seen = list(islice(rows, LOOKED_AT))
        if not has_no_labels(seen, task):
            if isinstance(data, Source):
                data.notes.append(f"scored on the split {split}")
            return chain(seen, rows)
    return reader.read(data, encoding=encoding)


def thin_parts(data: Data, *, few: bool = False) -> list[str]:
    """Warnings of parts that too few rows leave empty. few: so few rows are meant, and none to validate on."""
    task, splits = data.task, data.splits
    lines = []
    if not splits.test:
        lines.append(
            "warning: no row is held out, so nothing is scored; three rows of a label and more leave one, or name some "
            "with --test"
        )
    elif missing := [label for label in task.labels if label not in task.answers.labels_of(splits.test)]:
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        lines.append(f"warning: no held-out row has the label {', '.join(map(repr, missing[:5]))}{more}")
    if not splits.validation and not few:
        lines.append(
            "warning: no row to validate on, so the last step is kept, the best or not; six rows of a label and more "
            "leave one, or name some with --validation"
        )
    return lines


def _parts(reader: Reader, data: Any, encoding: str) -> dict[str, Iterator[Row]]:
    """Split -> rows of a folder that is split. Raises CuetuneError where none is to learn from."""
    parts = reader.parts(data, encoding=encoding)
    if parts and "train" not in parts:
        raise CuetuneError(
            f"{source_name(data)}: splits {', '.join(parts)}, but no train to learn from; name one of them, or pass "
            "--no-splits to take the folders' names for labels."
        )
    return parts


def _beside(data: Any, source: Any) -> Any:
    """Rows to validate or test on, whose files are found as those of the data are."""
    named = isinstance(source, str | Path) and not isinstance(source, Source)
    return data.beside(source) if named and isinstance(data, Source) else source


def _unlearned(task: Task, examples: Sequence[Example], splits: Splits) -> list[str]:
    """What to say of labels all of whose rows are set aside, because they stay together with others."""
    missing = sorted(task.answers.labels_of(examples) - task.answers.labels_of(splits.train))
    return [f"label {each!r}: no row to tune on has it; the rows that do stay together with others" for each in missing]


def reader_of_run(data: Any, model: str | Backbone | None, options: dict[str, Any], encoding: str) -> Reader:
    """The reader of a run's rows: for the modality of the model where one is named, else for that of the rows, which
    also decide what a model reads that takes several.

    Raises CuetuneError where rows that are no texts meet a model of another modality.
    """
    reader = reader_for(data, options, encoding)
    if model is None:
        return reader
    rows = reader.modality
    modality = modality_of_model(model, rows.name) if isinstance(model, str) else modality_of(model)
    if rows is not modality and rows.name != "text" and not _may_be(READERS[modality.name], data, encoding):
        name = model if isinstance(model, str) else model.identity.name
        raise CuetuneError(
            f"these rows are {rows.plural}, and {name} reads {modality.plural}; name a model of "
            f"{rows.plural}, e.g. --model {rows.model}, or a column of {modality.plural} with --{modality.name}."
        )
    return READERS[modality.name]


def _may_be(reader: Reader, data: Any, encoding: str) -> bool:
    """Whether rows that are taken for another modality may be of this one, too: a GIF is an image and a video."""
    if reader.modality.name == "text":
        return False
    if isinstance(data, str | Path) and Path(data).is_dir():
        return reader.in_folder(Path(data))
    return reader.holds(first_rows(data, encoding))


def few_rows(data: Data, rows: int, drawn: int = 0, *, keep_validation: bool = False) -> Data:
    """The same task with few rows to learn from: every label once if there is room, then in the data's proportion.

    Raises CuetuneError when there are not so many.
    """
    splits = data.splits
    if rows > len(splits.train):
        raise CuetuneError(
            f"--train-rows {rows}: {data.source} has {len(splits.train)} rows to tune on; ask for at most so many."
        )
    return replace(
        data,
        splits=Splits(
            draw(splits.train, rows, drawn, data.task), splits.validation if keep_validation else [], splits.test
        ),
    )


def sizes(splits: Splits) -> str:
    return f"rows: {len(splits.train)} to tune on, {len(splits.validation)} to validate, {len(splits.test)} held out"
