"""`check`: what spoils a task, before it is tuned."""

from collections.abc import Iterator, Mapping
from typing import Any

from cuetune.data.chat_template import is_chat
from cuetune.data.check import Report, check_data
from cuetune.data.examples import understood
from cuetune.data.readers.registry import reader_for, reader_of
from cuetune.data.task import Task


def check(
    data: Any, task: Task | str | None = None, *, tokenizer: Any = None, encoding: str = "utf-8", **task_options: Any
) -> Report:
    """Look for what spoils a task before it is tuned: copies, conflicts, rare labels, empty and overlong rows.

    data: a source of labelled rows, or a dictionary part -> source ({"train": …, "test": …}). The task is inferred from
    the first part unless it is given. tokenizer: for lengths in tokens.
    """
    if isinstance(task, str):
        task, task_options["kind"] = None, task
    sources = data if isinstance(data, Mapping) else {"data": data}
    first = next(iter(sources.values()))
    reader = reader_of(task) if task else reader_for(first, task_options, encoding)
    sources = reader.parts(data, encoding=encoding) or sources
    rows = {
        part: list(source if isinstance(source, Iterator) else reader.read(source, encoding=encoding))
        for part, source in sources.items()
    }
    if is_chat(task_options.get("template")):
        task_options["tokenizer"] = tokenizer
    meant = task or reader.infer(next(iter(rows.values())), **task_options)
    parts = {part: understood(each, meant) for part, each in rows.items()}
    return check_data(parts, meant, tokenizer, lambda examples: reader.faults(examples, meant))
