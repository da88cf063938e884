"""Progress bars on standard error, for a person who waits; `disable` is set where there is no terminal."""

from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text

from cuetune.support.console import styled, target


class Words(ProgressColumn):
    """A field of the task as it is; its description by default."""

    def __init__(self, field: str | None = None) -> None:
        self._field = field
        super().__init__()

    def render(self, task: Task) -> Text:
        return styled(task.fields[self._field] if self._field else task.description, "")


def step_bar() -> Progress:
    """Steps of a run, with time left. Tasks have a field `note`."""
    left = TextColumn("left")
    return _bar(
        Words(), BarColumn(), MofNCompleteColumn(), Words("note"), TimeElapsedColumn(), left, TimeRemainingColumn()
    )


def row_bar() -> Progress:
    """Rows done, where nobody knows of how many. Tasks have a field `rate`."""
    done = TextColumn("{task.completed:,.0f} rows")
    return _bar(Words(), done, TimeElapsedColumn(), Words("rate"), transient=True)


def download_bar() -> Progress:
    """Bytes of a download."""
    return _bar(Words(), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn(), transient=True)


def _bar(*columns: ProgressColumn, transient: bool = False) -> Progress:
    place = target(stderr=True)
    return Progress(*columns, console=place, disable=not place.is_terminal, transient=transient)
