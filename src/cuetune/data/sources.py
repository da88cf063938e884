"""Where rows come from, with how their files are found and what is to be said of them."""

from pathlib import Path
from typing import Any, Self

from cuetune.data.formats.layout import Layout
from cuetune.support.named_paths import possible


class Source(str):
    """The name of a file, a folder or a data set, with what the user says of the files in it.

    splits: folders named train, val, test, … are splits; else they are labels. media_root: the folder that paths in a
    table start from; else the table's own. allow_download: whether http(s) addresses in a table are fetched.
    layout: how a text table is written, where it does not say so itself.
    notes: filled while rows are read: what was taken for what, and what was left out, for a person.
    """

    splits: bool
    media_root: Path | None
    allow_download: bool
    layout: Layout
    notes: list[str]

    def __new__(
        cls,
        name: str | Path,
        *,
        splits: bool = True,
        media_root: str | Path | None = None,
        allow_download: bool = False,
        layout: Layout | None = None,
    ) -> Self:
        made = super().__new__(cls, possible(name))
        made.splits, made.allow_download, made.notes = splits, allow_download, []
        made.layout = layout or Layout()
        made.media_root = None if media_root is None else Path(media_root)
        return made

    def beside(self, name: str | Path) -> "Source":
        """Another source, such as the rows to test on, whose files are found in the same way."""
        other = Source(
            name,
            splits=self.splits,
            media_root=self.media_root,
            allow_download=self.allow_download,
            layout=self.layout,
        )
        other.notes = self.notes
        return other


def source_of(given: Any) -> Source:
    """A source as it is, the name of one with the usual ways, and of rows in memory one without a name."""
    if isinstance(given, Source):
        return given
    return Source(given if isinstance(given, str | Path) else "")


def notes_of(given: Any) -> list[str]:
    """What there is to say of a source that was read; nothing of one that keeps no notes."""
    return list(dict.fromkeys(given.notes)) if isinstance(given, Source) else []
