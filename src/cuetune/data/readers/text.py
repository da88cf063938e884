"""Texts in columns of a table, put into a template."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cuetune.backbones.loading import load_tokenizer
from cuetune.backbones.outline import Outline, load_outline
from cuetune.data.chat_template import is_chat
from cuetune.data.readers.base import Reader
from cuetune.data.reading import read_rows
from cuetune.data.row import Row
from cuetune.data.task import Task
from cuetune.data.task_inference import infer_task
from cuetune.modality import TEXT


class TextReader(Reader):
    """Reads tables of texts."""

    modality = TEXT

    def holds(self, rows: Sequence[Row]) -> bool:
        return True

    def read(self, source: Any, *, encoding: str = "utf-8", labelled: bool = True) -> Iterator[Row]:
        return read_rows(source, encoding=encoding)

    def infer(self, rows: Sequence[Row], **options: Any) -> Task:
        return infer_task(rows, **options)

    def outline(self, model: str) -> Outline:
        return load_outline(model)

    def chat_options(self, model: Any, options: Mapping[str, Any]) -> dict[str, Any]:
        if not is_chat(options.get("template")):
            return {}
        named = model is None or isinstance(model, str)
        return {"tokenizer": self.tokenizer(model or self.modality.model) if named else model.tokenizer}

    def tokenizer(self, model: str) -> Any:
        return load_tokenizer(model)
