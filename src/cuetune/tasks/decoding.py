"""From rows with pictures or clips to pixels: decoded by several threads, in order, few at a time."""

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import islice

import torch
from torch import Tensor

from cuetune.backbones.clips import ClipPreprocessing
from cuetune.backbones.preprocessing import Preprocessing
from cuetune.errors import CuetuneError
from cuetune.tasks.clips import read_clip
from cuetune.tasks.pictures import read_pictures
from cuetune.tasks.skipped import Skipped
from cuetune.tasks.task import Example, Row, Task

AT_ONCE = 64  # pictures in memory
CHECKED = 32  # frames of a clip that must be there for it to count as whole


def decode(
    rows: Iterable[Row], preprocessing: Preprocessing, column: str = "image", skipped: Skipped | None = None
) -> Iterator[tuple[list[Row], Tensor]]:
    """Rows and their pixels (B, 3, H, W) uint8, up to `AT_ONCE` at a time and in order; rows left out are counted.

    Of clips the pixels are (B, T, 3, H, W), and "repeated" of a row says how many of its T frames were taken again.
    Pillow and PyAV decode and resize outside of Python's lock, so threads share the work.
    """
    source, at_once = iter(rows), max(1, AT_ONCE // getattr(preprocessing, "frames", 1))
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        while chunk := list(islice(source, at_once)):
            kept = []
            for read in threads.map(lambda row: _read(row, preprocessing, column), chunk):
                if not isinstance(read, CuetuneError):
                    kept.append(read)
                elif skipped is None:
                    raise read
                else:
                    skipped.add(str(read))
            if kept:
                yield [row for row, _ in kept], torch.stack([pixels for _, pixels in kept])


def _read(row: Row, preprocessing: Preprocessing, column: str) -> tuple[Row, Tensor] | CuetuneError:
    """The row and its pixels, or what is wrong with it."""
    try:
        return pixels_of(row, column, preprocessing)
    except CuetuneError as error:
        return error


def pixels_of(row: Row, column: str, preprocessing: Preprocessing) -> tuple[Row, Tensor]:
    """A row and the pixels, (3, H, W) or (T, 3, H, W), of what its column holds.

    Raises CuetuneError for what cannot be read.
    """
    if not isinstance(preprocessing, ClipPreprocessing):
        (_, picture), *_ = read_pictures([row], column)
        return row, preprocessing.bytes_of(picture)
    pictures, length = read_clip(row.values[column], row.where, preprocessing.frames)
    pixels = preprocessing.bytes_of_frames(pictures)
    if length < preprocessing.frames:
        row = replace(row, values={**row.values, "repeated": preprocessing.frames - length})
    return row, pixels


def faults(examples: Sequence[Example], task: Task) -> list[CuetuneError | None]:
    """What is wrong with each example's picture or clip; None where it can be decoded. Nothing of it is kept."""
    fault = _clip_fault if task.modality == "video" else _fault
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        return list(threads.map(fault, rows_of(examples, task)))


def _fault(row: Row) -> CuetuneError | None:
    """What is wrong with a row's picture."""
    try:
        list(read_pictures([row]))
    except CuetuneError as error:
        return error
    return None


def _clip_fault(row: Row) -> CuetuneError | None:
    """What is wrong with a row's clip."""
    try:
        pictures, _ = read_clip(row.values["image"], row.where, CHECKED)
        for _ in pictures:
            pass
    except CuetuneError as error:
        return error
    return None


def rows_of(examples: Iterable[Example], task: Task) -> Iterator[Row]:
    """Examples of a task on pictures or clips as rows whose "image" is that of each."""
    for example in examples:
        yield Row(example.where, {"image": example.fields[task.fields[0]]})
