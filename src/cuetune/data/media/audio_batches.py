"""From rows with audio files to waves at the model's rate: decoded by several threads, in order, few at a time."""

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from cuetune.backbones.hearing import LONGEST, Hearing
from cuetune.data.media.audio_reading import Converted, read_recording, shape_of
from cuetune.data.media.decoded import Decoded, source_of
from cuetune.data.reading_once import read_once
from cuetune.data.row import Example
from cuetune.data.skip_report import Skipped
from cuetune.data.task import Task
from cuetune.errors import CuetuneError
from cuetune.support.spill_table import SpillTable

AT_ONCE = 32  # audio files in memory
RATE = 16000  # of a model that is not known yet


def listen(
    examples: Iterable[Example],
    task: Task,
    hearing: Hearing,
    skipped: Skipped | None = None,
) -> Iterator[tuple[list[Example], list[Tensor]]]:
    """Examples and their waves (n,), up to `AT_ONCE` at a time and in order; those left out are counted.

    skipped: counts the rows that cannot be read; without it the first is an error.
    libsndfile decodes outside of Python's lock, so threads share the work.
    """
    source, rate, longest = iter(examples), hearing.rate, hearing.longest / hearing.rate

    def read(example: Example) -> Tensor | CuetuneError:
        return _read(example, task, rate, longest)

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        while chunk := list(islice(source, AT_ONCE)):
            kept = []
            for example, found in zip(chunk, threads.map(read, chunk), strict=True):
                if isinstance(found, Tensor):
                    kept.append((example, found))
                elif skipped is None:
                    raise found
                else:
                    skipped.add(str(found))
            if kept:
                yield [example for example, _ in kept], [wave for _, wave in kept]


def _read(example: Example, task: Task, rate: int, longest: float) -> Tensor | CuetuneError:
    """The wave of an example's audio file, or what is wrong with it."""
    content = example.fields[task.fields[0]]
    if isinstance(content, Decoded) and content.preparation == (rate, longest):
        return content.values
    try:
        return torch.from_numpy(read_recording(source_of(content), example.where, rate, longest))
    except CuetuneError as error:
        return error


def checked(
    examples: Sequence[Example], task: Task, hearing: Hearing, table: SpillTable
) -> list[Example | CuetuneError]:
    """Each example with its audio file decoded into the table, or what is wrong with it. A file is opened once."""
    rate, longest = hearing.rate, hearing.longest / hearing.rate

    def read(content: Any, where: str) -> tuple[Tensor, int, Any]:
        return torch.from_numpy(read_recording(content, where, rate, longest)), 0, shape_of(content, where)

    return read_once(examples, task, read, (rate, longest), "audio file", table)


def faults(examples: Sequence[Example], task: Task) -> list[CuetuneError | None]:
    """What is wrong with the audio file of each example; None where it can be heard."""
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        read = threads.map(lambda each: _read(each, task, RATE, LONGEST), examples)
        return [each if isinstance(each, CuetuneError) else None for each in read]


def conversions(examples: Iterable[Example], task: Task, rate: int = RATE, longest: float = LONGEST) -> Converted:
    """What will be done to audio files that can be read so that a model hears them, as their headers say."""
    done = Converted()
    for example in examples:
        content = example.fields[task.fields[0]]
        known = isinstance(content, Decoded) and content.header is not None
        own, channels, seconds = content.header if known else shape_of(source_of(content), example.where)
        done.add(own, channels, seconds, rate, longest)
    return done
