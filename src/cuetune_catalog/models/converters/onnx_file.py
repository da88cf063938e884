"""ONNX files as plain tensors: the stored weights by name, and which operations take them. Nothing of them is run."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import onnx
import torch
from google.protobuf.message import DecodeError
from onnx import numpy_helper
from torch import Tensor


@dataclass(frozen=True)
class Node:
    """One operation: what it is called, and the names of the tensors that it takes and gives."""

    operation: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def read_onnx(path: Path) -> tuple[dict[str, Tensor], list[Node]]:
    """The stored weights of a model by name, and its operations in order.

    Raises ValueError for a broken file, and for one whose weights lie in other files.
    """
    try:
        graph = onnx.load_model_from_string(path.read_bytes()).graph
    except DecodeError as error:
        raise ValueError("the file is cut short or no ONNX file") from error
    if not graph.node:
        raise ValueError("no graph in the ONNX file")
    nodes = [Node(each.op_type, tuple(each.input), tuple(each.output)) for each in graph.node]
    return dict(_weights(graph.initializer)), nodes


def _weights(initializers: Iterable[onnx.TensorProto]) -> Iterable[tuple[str, Tensor]]:
    """Name and tensor. Weights in other files are refused: where such files are is for the model's maker to choose."""
    for each in initializers:
        if each.data_location == onnx.TensorProto.EXTERNAL:
            raise ValueError(f"{each.name} is stored in another file")
        try:
            yield each.name, torch.from_numpy(numpy_helper.to_array(each).copy())
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"{each.name} cannot be read ({str(error).splitlines()[0]})") from error
