"""Where pictures and their labels come from: a folder for each class, or a table with a column of paths."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cuetune.errors import CuetuneError
from cuetune.tasks.datasets import DATASETS, cached
from cuetune.tasks.formats import READERS, suffix_of
from cuetune.tasks.inference import infer_task
from cuetune.tasks.reading import read_rows
from cuetune.tasks.task import Row, Task

ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".pgm")
IMAGE_NAMES = ("image", "picture", "img", "photo", "path", "file", "filename", "file_name")


def read_image_rows(source: Any, *, split: str | None = None, encoding: str = "utf-8") -> Iterator[Row]:
    """Rows with a picture each, in order: the picture's path, bytes or Pillow object, not yet decoded.

    source: a folder with a folder of pictures for each class (columns "image" and "label"), the name of a data set of
    `cuetune data`, or whatever `read_rows` reads; paths in a table are taken from the table's folder where they are
    there, else as they are.
    Raises CuetuneError naming file and row for anything that cannot be read.
    """
    path = Path(source) if isinstance(source, str | Path) else None
    if path is not None and str(path) in DATASETS and not path.exists():
        source = path = cached(str(path))
    if path is not None and path.is_dir() and not any(suffix_of(each) in READERS for each in path.iterdir()):
        return class_folders(path)
    rows = read_rows(_undecoded(source), split=split, encoding=encoding)
    if path is None or not path.is_file():
        return rows
    return (_with_paths(row, path.parent) for row in rows)


def class_folders(folder: Path) -> Iterator[Row]:
    """Rows of `folder/<label>/**/<picture>`, by label and name. Hidden files and other files are passed over.

    Raises CuetuneError for a folder without classes, a class without pictures, or pictures beside the classes.
    """
    classes = sorted(each for each in folder.iterdir() if each.is_dir() and not each.name.startswith("."))
    loose = [each.name for each in folder.iterdir() if _is_picture(each)]
    if loose and classes:
        raise CuetuneError(
            f"{folder}: {loose[0]} lies beside the folders of the classes; move it into the folder of its class."
        )
    if not classes:
        raise CuetuneError(
            f"{folder}: {len(loose)} pictures, but no folders; expected a folder of pictures for each class, like "
            f"{folder / 'cat' / '1.png'}, or give a table with a column of paths."
        )
    for each in classes:
        pictures = sorted(path for path in each.rglob("*") if _is_picture(path))
        if not pictures:
            raise CuetuneError(f"{each}: no picture of this class ({', '.join(ENDINGS[:5])}, …); remove the folder.")
        for path in pictures:
            yield Row(str(path.relative_to(folder)), {"image": str(path), "label": each.name})


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in ENDINGS and not path.name.startswith(".") and path.is_file()


def _with_paths(row: Row, folder: Path) -> Row:
    """The row with paths that are given from the table's folder; whether they exist is seen when they are read."""
    moved = {
        column: str(folder / value)
        for column, value in row.values.items()
        if isinstance(value, str) and value.lower().endswith(ENDINGS) and _beside(folder, value)
    }
    return replace(row, values={**row.values, **moved}) if moved else row


def _beside(folder: Path, value: str) -> bool:
    """Whether a relative path means a file in the table's folder: there is one, or none where it points otherwise."""
    path = Path(value)
    return not path.is_absolute() and ((folder / path).is_file() or not path.is_file())


def _undecoded(source: Any) -> Any:
    """A data set of `datasets` that hands out the bytes of its pictures: they are decoded here, with our errors."""
    features = getattr(source, "features", None) or {}
    pictures = [name for name, kind in features.items() if type(kind).__name__ == "Image"]
    if not pictures:
        return source
    from datasets import Image

    for name in pictures:
        source = source.cast_column(name, Image(decode=False))
    return source


def holds_pictures(rows: Sequence[Row]) -> bool:
    """Whether rows are about pictures: a column of the first one holds a picture or the path of one."""
    return bool(rows) and any(map(_means_picture, rows[0].values.values()))


def _means_picture(value: Any) -> bool:
    return not isinstance(value, str | int | float | bool | None) or str(value).lower().endswith(ENDINGS)


def image_column(row: Row) -> str:
    """The column that holds the pictures, by what is in it or else by its name. Raises CuetuneError if none does."""
    for name, value in row.values.items():
        if _means_picture(value):
            return name
    lowered = {name.lower(): name for name in row.values}
    for name in IMAGE_NAMES:
        if name in lowered:
            return lowered[name]
    raise CuetuneError(
        f"{row.where}: no column of pictures (found: {', '.join(map(repr, row.values))}); expected paths that end in "
        f"{', '.join(ENDINGS[:4])}, …"
    )


def infer_image_task(
    rows: Sequence[Row],
    *,
    image: str | None = None,
    label: str | None = None,
    labels: Sequence[str] | None = None,
    name: str = "task",
) -> Task:
    """A task on pictures from labelled rows, with the template "{image}"; what is given is taken, the rest inferred.

    Raises CuetuneError if ambiguous, and for a row that holds something else where the others hold a picture.
    """
    if not rows:
        raise CuetuneError("no rows to learn the task from.")
    column = image or image_column(rows[0])
    for row in rows:
        value = row.values.get(column)
        if value is not None and not _means_picture(value):
            raise CuetuneError(
                f"{row.where}, column {column!r}: {str(value)[:40]!r} is no path of a picture, as other rows have; "
                f"expected {', '.join(ENDINGS[:4])}, …, and texts in a file of their own."
            )
    return infer_task(rows, text=column, label=label, labels=labels, template="{image}", name=name)
