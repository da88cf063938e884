"""Content that is checked, told from copies of itself and decoded in one reading of its file."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from torch import Tensor

from cuetune.data.media.content_key import content_key
from cuetune.data.media.decoded import Decoded
from cuetune.data.media.opening import opened_once
from cuetune.data.row import Example
from cuetune.data.task import Task
from cuetune.errors import CuetuneError
from cuetune.support.spill_table import SpillTable

# Given content and its place in the data: its pixels or wave, frames that were taken again, and what its header says.
Read = Callable[[Any, str], tuple[Tensor, int, Any]]


def read_once(
    examples: Sequence[Example], task: Task, read: Read, preparation: Any, noun: str, table: SpillTable
) -> list[Example | CuetuneError]:
    """Each example with its content as `Decoded`, or what is wrong with it. noun: what people call the content.

    Paths in plain text stay as they are: there, the text tells rows apart.
    """
    column = task.fields[0]

    def one(example: Example) -> tuple[str, Tensor, int, Any] | CuetuneError | None:
        source = example.fields[column]
        if isinstance(source, str | Decoded):
            return None
        try:
            with opened_once(source, example.where, noun) as content:
                return (content_key(content), *read(content, example.where))
        except CuetuneError as error:
            return error

    def kept(example: Example, key: str, values: Tensor, repeated: int, header: Any) -> Example:
        place = len(table)
        table.put(place, values)
        content = Decoded(example.fields[column], preparation, table, place, repeated, key, header)
        return replace(example, fields={**example.fields, column: content})

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        contents = list(threads.map(one, examples))
    return [
        example if content is None else content if isinstance(content, CuetuneError) else kept(example, *content)
        for example, content in zip(examples, contents, strict=True)
    ]
