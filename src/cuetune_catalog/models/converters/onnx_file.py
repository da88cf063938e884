"""ONNX files as plain tensors: the stored weights by name, and which operations take them. Nothing of them is run.

An ONNX file is one protobuf message. Only the four kinds of message that hold weights and operations are read, by the
wire format's own rules; field numbers are those of onnx.proto.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

GRAPH, NODE, INITIALIZER = 7, 1, 5
INPUT, OUTPUT, OPERATION = 1, 2, 4
DIMENSIONS, DATA_TYPE, NAME, RAW = 1, 2, 8, 9
DTYPES = {1: torch.float32, 6: torch.int32, 7: torch.int64, 9: torch.bool, 10: torch.float16, 11: torch.float64}
VARINT, EIGHT_BYTES, LENGTH, FOUR_BYTES = 0, 1, 2, 5


@dataclass(frozen=True)
class Node:
    """One operation: what it is called, and the names of the tensors that it takes and gives."""

    operation: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def read_onnx(path: Path) -> tuple[dict[str, Tensor], list[Node]]:
    """The stored weights of a model by name, and its operations in order. Raises ValueError for a broken file."""
    graph = next((part for number, part in _fields(memoryview(path.read_bytes())) if number == GRAPH), None)
    if not isinstance(graph, memoryview):
        raise ValueError("no graph in the ONNX file")
    weights: dict[str, Tensor] = {}
    nodes = []
    for number, part in _fields(graph):
        if number == INITIALIZER:
            name, tensor = _tensor(part)
            weights[name] = tensor
        elif number == NODE:
            nodes.append(_node(part))
    return weights, nodes


def _tensor(message: int | memoryview) -> tuple[str, Tensor]:
    parts = _by_number(message)
    name = _text(parts[NAME][0])
    shape = [size for part in parts.get(DIMENSIONS, []) for size in _numbers(part)]
    dtype = DTYPES.get(parts[DATA_TYPE][0])  # type: ignore[arg-type]
    if dtype is None or RAW not in parts:
        raise ValueError(f"{name} is stored in a form that is not read here")
    raw = parts[RAW][0]
    assert isinstance(raw, memoryview)
    if len(raw) != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{name} holds {len(raw)} bytes, which are no {shape} numbers")
    return name, torch.frombuffer(bytearray(raw), dtype=dtype).view(shape)


def _node(message: int | memoryview) -> Node:
    parts = _by_number(message)
    inputs, outputs = (tuple(map(_text, parts.get(number, []))) for number in (INPUT, OUTPUT))
    return Node(_text(parts[OPERATION][0]), inputs, outputs)


def _by_number(message: int | memoryview) -> dict[int, list[int | memoryview]]:
    if not isinstance(message, memoryview):
        raise ValueError("a number where a message should be")
    parts: dict[int, list[int | memoryview]] = {}
    for number, part in _fields(message):
        parts.setdefault(number, []).append(part)
    return parts


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """(number, value) of each field: an integer, or the bytes of a text, a message or a packed list."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, kind = key >> 3, key & 7
        if kind == VARINT:
            value, at = _varint(message, at)
            yield number, value
            continue
        if kind == LENGTH:
            size, at = _varint(message, at)
        elif kind in (EIGHT_BYTES, FOUR_BYTES):
            size = 8 if kind == EIGHT_BYTES else 4
        else:
            raise ValueError(f"no protobuf: a field of kind {kind}")
        if at + size > len(message):
            raise ValueError("the ONNX file ends too early")
        yield number, message[at : at + size]
        at += size


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """An integer in groups of seven bits, the lowest first, and where it ends."""
    value = shift = 0
    while at < len(message) and shift < 64:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        shift, at = shift + 7, at + 1
        if byte < 0x80:
            return value, at
    raise ValueError("the ONNX file ends too early")


def _numbers(part: int | memoryview) -> list[int]:
    """A repeated integer: alone, or several packed into one field."""
    if isinstance(part, int):
        return [part]
    found, at = [], 0
    while at < len(part):
        value, at = _varint(part, at)
        found.append(value)
    return found


def _text(part: int | memoryview) -> str:
    return bytes(part).decode("utf-8") if isinstance(part, memoryview) else ""
