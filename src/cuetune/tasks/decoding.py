"""From rows with pictures to pixels: decoded by several threads, in order, few at a time."""

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import torch
from torch import Tensor

from cuetune.backbones.preprocessing import Preprocessing
from cuetune.errors import CuetuneError
from cuetune.tasks.pictures import read_pictures
from cuetune.tasks.skipped import Skipped
from cuetune.tasks.task import Example, Row, Task

AT_ONCE = 64  # pictures in memory


def decode(
    rows: Iterable[Row], preprocessing: Preprocessing, column: str = "image", skipped: Skipped | None = None
) -> Iterator[tuple[list[Row], Tensor]]:
    """Rows and their pixels (B, 3, H, W) uint8, up to `AT_ONCE` at a time and in order; rows left out are counted.

    Pillow decodes and resizes outside of Python's lock, so threads share the work.
    """
    source = iter(rows)
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        while chunk := list(islice(source, AT_ONCE)):
            kept = []
            for row, read in zip(chunk, threads.map(lambda row: _read(row, preprocessing, column), chunk), strict=True):
                if isinstance(read, Tensor):
                    kept.append((row, read))
                elif skipped is None:
                    raise read
                else:
                    skipped.add(str(read))
            if kept:
                yield [row for row, _ in kept], torch.stack([pixels for _, pixels in kept])


def _read(row: Row, preprocessing: Preprocessing, column: str) -> Tensor | CuetuneError:
    """The pixels of a row's picture, or what is wrong with it."""
    try:
        (_, picture), *_ = read_pictures([row], column)
        return preprocessing.bytes_of(picture)
    except CuetuneError as error:
        return error


def faults(examples: Sequence[Example], task: Task) -> list[CuetuneError | None]:
    """What is wrong with each example's picture; None where it can be decoded. Nothing of it is kept."""
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        return list(threads.map(_fault, rows_of(examples, task)))


def _fault(row: Row) -> CuetuneError | None:
    """What is wrong with a row's picture."""
    try:
        list(read_pictures([row]))
    except CuetuneError as error:
        return error
    return None


def rows_of(examples: Iterable[Example], task: Task) -> Iterator[Row]:
    """Examples of a task on pictures as rows whose "image" is the picture of each."""
    for example in examples:
        yield Row(example.where, {"image": example.fields[task.fields[0]]})
