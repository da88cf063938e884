"""Queries: what the frozen model alone says of each row, which decides what a prompt that looks at rows is made of."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from cuetune.backbones.batches import ImageBatch, TokenBatch
from cuetune.backbones.injection import Injection


def query_of(backbone: Any, rows: TokenBatch | ImageBatch) -> Tensor:
    """(B, D) float32: the state of each row that a head would read, without any prompt.

    Of a text with label words it is the state that the answer follows. Rows that carry their queries already
    (`rows.query`) cost nothing; others cost a pass through the frozen model.
    """
    (asked,) = with_queries(backbone, [rows])
    assert asked.query is not None
    return asked.query.to(backbone.device, torch.float32)


@torch.no_grad()
def with_queries(backbone: Any, parts: Sequence[Any]) -> list[Any]:
    """The same batches with their queries: texts in one pass, whatever prompts they go on to."""
    missing = [number for number, rows in enumerate(parts) if rows.query is None]
    asked = [(_one_of_each(parts[number]), Injection()) for number in missing]
    found = dict(zip(missing, backbone.hidden_mixed(asked), strict=True)) if missing else {}
    return [
        replace(rows, query=found[number].float()) if number in found else rows for number, rows in enumerate(parts)
    ]


def _one_of_each(rows: TokenBatch | ImageBatch) -> TokenBatch | ImageBatch:
    """The rows with one state to be read of each: their mean, or where the first of the places read of it stands.

    Answers stand behind that place, so that the query knows nothing of them.
    """
    if isinstance(rows, ImageBatch) or rows.pool is not None:
        return rows
    lengths = torch.tensor(rows.lengths, device=rows.read.device)
    ends = lengths.cumsum(0)
    plain = rows.tail is None and rows.behind is None
    if plain and len(rows.read) == len(rows.ids):  # of which every state is wanted
        return replace(rows, read=ends - 1)
    row_of = torch.repeat_interleave(torch.arange(len(lengths), device=ends.device), lengths)[rows.read]
    return replace(rows, read=ends.scatter_reduce(0, row_of, rows.read, "amin"))
