"""From examples with images or video to pixels: decoded by several threads, in order, few at a time."""

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cuetune.backbones.clips import ClipPreprocessing
from cuetune.backbones.preprocessing import Preprocessing
from cuetune.data.media.decoded import Decoded, source_of
from cuetune.data.media.image_reading import count_deep, read_picture
from cuetune.data.media.video_reading import read_clip
from cuetune.data.reading_once import read_once
from cuetune.data.row import Example
from cuetune.data.skip_report import Skipped
from cuetune.data.task import Task
from cuetune.errors import CuetuneError
from cuetune.support.spill_table import SpillTable

AT_ONCE = 64  # images in memory
CHECKED = 32  # frames of a video that must be there for it to count as whole


def pixels_of(content: Any, where: str, preprocessing: Preprocessing) -> tuple[Tensor, int]:
    """The pixels, (3, H, W) or (T, 3, H, W) uint8, of what a cell holds, and how many of T frames were taken again.

    Raises CuetuneError for what cannot be read.
    """
    if isinstance(content, Decoded) and content.preparation == preprocessing:
        return content.values, content.repeated
    if not isinstance(preprocessing, ClipPreprocessing):
        return preprocessing.bytes_of(read_picture(source_of(content), where)), 0
    frames, length = read_clip(source_of(content), where, preprocessing.frames)
    return preprocessing.bytes_of_frames(frames), max(0, preprocessing.frames - length)


def decode(
    examples: Iterable[Example], task: Task, preprocessing: Preprocessing, skipped: Skipped | None = None
) -> Iterator[tuple[list[Example], Tensor, list[int]]]:
    """Examples, their pixels (B, 3, H, W) uint8 and how many frames were taken again, up to `AT_ONCE` at a time and in
    order. Of video the pixels are (B, T, 3, H, W).

    skipped: counts the rows that cannot be read; without it the first is an error.
    Pillow and PyAV decode and resize outside of Python's lock, so threads share the work.
    """
    source, at_once = iter(examples), max(1, AT_ONCE // getattr(preprocessing, "frames", 1))
    column = task.fields[0]

    def read(example: Example) -> tuple[Example, Tensor, int] | CuetuneError:
        try:
            return (example, *pixels_of(example.fields[column], example.where, preprocessing))
        except CuetuneError as error:
            return error

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        while chunk := list(islice(source, at_once)):
            kept = []
            for row in threads.map(read, chunk):
                if not isinstance(row, CuetuneError):
                    kept.append(row)
                elif skipped is None:
                    raise row
                else:
                    skipped.add(str(row))
            if kept:
                rows, pixels, repeated = zip(*kept, strict=True)
                yield list(rows), torch.stack(pixels), list(repeated)


def decoded(
    examples: Sequence[Example], task: Task, preprocessing: Preprocessing, folder: Path | None = None
) -> list[Example]:
    """The examples with their content decoded and kept (`Decoded`); what is kept already stays as it is.

    folder: of what is too large for memory; 150 kB for an image of 224 x 224.
    """
    column, table = task.fields[0], SpillTable(folder, "It keeps the pixels of this run.")
    contents = [example.fields[column] for example in examples]
    fresh = [
        n for n, each in enumerate(contents) if not (isinstance(each, Decoded) and each.preparation == preprocessing)
    ]
    made, number = list(examples), iter(fresh)
    for rows, pixels, repeated in decode([examples[n] for n in fresh], task, preprocessing):
        for example, values, again in zip(rows, pixels, repeated, strict=True):
            place = next(number)
            table.put(place, values)
            content = Decoded(example.fields[column], preprocessing, table, place, again)
            made[place] = replace(example, fields={**example.fields, column: content})
    return made


def checked(
    examples: Sequence[Example], task: Task, preprocessing: Preprocessing, table: SpillTable
) -> list[Example | CuetuneError]:
    """Each example with its image or video decoded into the table, or what is wrong with it. A file is opened once."""

    def read(content: Any, where: str) -> tuple[Tensor, int, Any]:
        if isinstance(preprocessing, ClipPreprocessing):
            _check_video(content, where)
            return (*pixels_of(content, where, preprocessing), None)
        return (*pixels_of(content, where, preprocessing), bool(count_deep([content])))

    noun = "video" if isinstance(preprocessing, ClipPreprocessing) else "image"
    return read_once(examples, task, read, preprocessing, noun, table)


def faults(examples: Sequence[Example], task: Task) -> list[CuetuneError | None]:
    """What is wrong with each example's image or video; None where it can be decoded. Nothing of it is kept."""
    column, check = task.fields[0], _check_video if task.modality == "video" else read_picture

    def fault(example: Example) -> CuetuneError | None:
        try:
            check(source_of(example.fields[column]), example.where)
        except CuetuneError as error:
            return error
        return None

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        return list(threads.map(fault, examples))


def _check_video(source: Any, where: str) -> None:
    frames, _ = read_clip(source, where, CHECKED)
    for _ in frames:
        pass
