"""For models that hand no arguments on to their layers or attention: the layout of a pass travels with the thread."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn

HANDED_ON = "cuetune_handed_on"


class _Running(threading.local):
    """The layout of the pass that runs in this thread; None for calls that are not ours."""

    layout: Any = None


_running = _Running()


@contextmanager
def handed(layout: Any) -> Iterator[None]:
    """Within it, layers and attention that are handed nothing know this layout."""
    before, _running.layout = _running.layout, layout
    try:
        yield
    finally:
        _running.layout = before


def running_layout() -> Any:
    """The layout of the pass that runs in this thread; None outside of ours."""
    return _running.layout


def hand_on_layers(model: Any, layers: Any) -> None:
    """Let a model's layers, which `compat.wrap_layer` has wrapped, and their attention know of the pass they are in."""
    for layer in layers:
        plain = layer._cuetune_forward
        if not getattr(layer, "_cuetune_handed", False):
            layer._cuetune_forward = partial(_without_layout, plain)
            layer._cuetune_handed = True
    model.set_attn_implementation(HANDED_ON)
    for module in model.modules():  # parts of a part, which some models do not switch themselves
        if (
            isinstance(module, nn.Module)
            and hasattr(module, "config")
            and hasattr(module.config, "_attn_implementation")
        ):
            module.config._attn_implementation = HANDED_ON


@torch.compiler.disable  # the layout's bookkeeping is Python
def _without_layout(plain: Callable[..., Any], *args: Any, cuetune_layout: Any = None, **kwargs: Any) -> Any:
    """A layer's forward pass, which is handed no layout; also where a checkpointed layer runs again."""
    with handed(cuetune_layout):
        return plain(*args, **kwargs)
