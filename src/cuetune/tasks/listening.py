"""From rows with recordings to waves at the model's rate: decoded by several threads, in order, few at a time."""

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import torch
from torch import Tensor

from cuetune.backbones.hearing import Hearing
from cuetune.errors import CuetuneError
from cuetune.tasks.recordings import Converted, read_recording
from cuetune.tasks.skipped import Skipped
from cuetune.tasks.task import Example, Task

AT_ONCE = 32  # recordings in memory


def listen(
    examples: Iterable[Example],
    task: Task,
    hearing: Hearing,
    done: Converted | None = None,
    skipped: Skipped | None = None,
) -> Iterator[tuple[list[Example], list[Tensor]]]:
    """Examples and their waves (n,), up to `AT_ONCE` at a time and in order; those left out are counted.

    done: counts what was converted. skipped: counts the rows that cannot be read; without it the first is an error.
    libsndfile decodes outside of Python's lock, so threads share the work.
    """
    done = Converted() if done is None else done
    source = iter(examples)
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        while chunk := list(islice(source, AT_ONCE)):
            kept = []
            for example, read in zip(
                chunk, threads.map(lambda each: _read(each, task, hearing, done), chunk), strict=True
            ):
                if isinstance(read, Tensor):
                    kept.append((example, read))
                elif skipped is None:
                    raise read
                else:
                    skipped.add(str(read))
            if kept:
                yield [example for example, _ in kept], [wave for _, wave in kept]


def _read(example: Example, task: Task, hearing: Hearing, done: Converted) -> Tensor | CuetuneError:
    """The wave of an example's recording, or what is wrong with it."""
    source, longest = example.fields[task.fields[0]], hearing.longest / hearing.rate
    try:
        return torch.from_numpy(read_recording(source, example.where, hearing.rate, longest, done))
    except CuetuneError as error:
        return error


def audible(
    examples: Iterable[Example], task: Task, hearing: Hearing, done: Converted, skipped: Skipped | None = None
) -> list[Example]:
    """The examples whose recordings can be heard, the others counted; without `skipped` the first is an error."""
    return [example for chunk, _ in listen(examples, task, hearing, done, skipped) for example in chunk]
