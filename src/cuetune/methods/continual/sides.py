"""Which side of a stream's split each row is on: learned from, to choose a task's step on, or held out."""

import math
from collections.abc import Sequence

from cuetune.data.examples import examples_of
from cuetune.data.formats.cells import ABSENT, cell_at, is_missing
from cuetune.data.hold_out import cell
from cuetune.data.row import Example, Row
from cuetune.data.sampling import draw
from cuetune.data.skip_report import Skipped
from cuetune.data.splits import split_examples
from cuetune.data.stream import Source, StreamSpec
from cuetune.data.task import Task, format_value

HELD_OUT = 0.2

Part = list[Example]


class Sides:
    """Splits the rows of a stream's tasks, all by one seed. skipped: counts rows that cannot be used, left out."""

    def __init__(self, spec: StreamSpec, seed: int, skipped: Skipped | None = None) -> None:
        self.spec, self.seed, self.skipped = spec, seed, skipped
        self._left_out: set[str] = set()
        self._held_out: dict[str, frozenset[str]] = {}

    def of(
        self, task: Task, source: Source, whole: Sequence[Row], rows: Sequence[Row], test: Sequence[Row] | None
    ) -> tuple[Part, Part, Part]:
        """Examples to learn from, to choose on and to test on; rows of other tasks' labels are left out.

        whole: the rows of the task's data; rows: those of them that are the task's; test: those that the file names.
        """
        examples, held_out = (self._examples(part, task) for part in (rows, test or ()))
        if test is None and self.spec.group_by:
            aside = self._aside(task, source, whole)
            examples, held_out = (
                [each for each in examples if (each.where in aside) is side] for side in (False, True)
            )
        elif test is None:
            splits = split_examples(examples, validation=0, test=HELD_OUT, seed=self.seed)
            examples, held_out = splits.train, splits.test
        share = (source.rows or math.inf) / max(1, len(examples) + len(held_out))
        examples, held_out = (
            part if share >= 1 else draw(part, max(1, round(len(part) * share)), self.seed)
            for part in (examples, held_out)
        )
        return *self._to_choose_on(examples, rows), held_out

    def _examples(self, rows: Sequence[Row], task: Task) -> Part:
        """The rows that have a label of this task. One without any label is of no task: an error, or left out once."""
        asked = [row for row in rows if row.where not in self._left_out and not _of_another(row, task)]
        found = list(examples_of(asked, task, self.skipped))
        self._left_out |= {row.where for row in asked} - {example.where for example in found}
        return found

    def _to_choose_on(self, examples: Part, rows: Sequence[Row]) -> tuple[Part, Part]:
        """Examples to learn from, and the share of them that chooses which step is kept."""
        share, together = self.spec.validation_fraction, None
        if not share:
            return examples, []
        if self.spec.group_by:
            cells = self._cells(rows)
            together = [cells[each.where] for each in examples]
        splits = split_examples(examples, validation=share, test=0, seed=self.seed, together=together)
        return splits.train, splits.validation

    def _aside(self, task: Task, source: Source, whole: Sequence[Row]) -> frozenset[str]:
        """Which rows of all data are held out where what is equal in a column stays together, over all tasks."""
        key = f"{source.data} {task.label_column}"
        if key not in self._held_out:
            cells, label = self._cells(whole), task.label_column
            examples = [
                Example(row.where, {"text": cells[row.where]}, format_value(row.values.get(label))) for row in whole
            ]
            test = split_examples(examples, validation=0, test=HELD_OUT, seed=self.seed).test
            self._held_out[key] = frozenset(each.where for each in test)
        return self._held_out[key]

    def _cells(self, rows: Sequence[Row]) -> dict[str, str]:
        """Place of a row -> what stands in the column whose equal rows stay together."""
        column = self.spec.group_by
        assert column is not None
        return {row.where: cell(row, column, self.spec.error, "group_by") for row in rows}


def _of_another(row: Row, task: Task) -> bool:
    """Whether a row has a label, and it is none of this task's."""
    value = cell_at(row.values, task.label_column)
    named = value is not ABSENT and not is_missing(value) and format_value(value).strip()
    return bool(named) and task.label_of(row) is None
