"""Frozen layers, faster and the same: products by oneDNN, norms in fewer passes over memory, a pruned last layer."""

import math
import platform
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import register_flop_formula
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

ONEDNN_THERE = (
    platform.machine().lower() in ("x86_64", "amd64")
    and torch.backends.mkldnn.is_available()
    and hasattr(torch.ops.mkldnn, "_linear_pointwise")
)
ONEDNN = ONEDNN_THERE and torch.backends.cpu.get_cpu_capability().startswith("AVX512")  # see `product`


class _FrozenProduct(torch.autograd.Function):
    """x (…, i) times a frozen weight (o, i) transposed, by oneDNN, in both directions and to any order of gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(weight)
        return _multiplied(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (weight,) = ctx.saved_tensors
        return _FrozenProduct.apply(grads[0], weight.t(), None), None, None


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x @ weight.T + bias for (…, i) states and a frozen (o, i) weight.

    torch multiplies float32 matrices on x86 by MKL, which takes AMD's processors for generic ones and leaves their
    AVX-512 alone; oneDNN, which torch ships too and uses for bfloat16, asks what the processor can do: measured twice
    as fast there, forward and backward. Without AVX-512 MKL was the faster one, by a third on images, so it stays.
    """
    plain = weight.requires_grad or (bias is not None and bias.requires_grad) or torch.is_autocast_enabled("cpu")
    if plain or not _by_onednn(x) or not _by_onednn(weight):
        return F.linear(x, weight, bias)
    return (_FrozenProduct.apply if x.requires_grad else _multiplied)(x, weight, bias)


def _multiplied(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return (_opaque if torch.compiler.is_compiling() else _onednn)(x, weight, bias)


def _onednn(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(x.contiguous(), weight, bias, "none", [], "")


# The compiler takes oneDNN's product for one whose weight it packed itself, so it gets one that it cannot look into.
_opaque = torch.library.custom_op("cuetune::product", _onednn, mutates_args=())
_opaque.register_fake(lambda x, weight, bias: x.new_empty((*x.shape[:-1], weight.shape[0])))


def _by_onednn(x: Tensor) -> bool:
    return x.dtype == torch.float32 and x.device.type == "cpu" and x.numel() > 0 and ONEDNN


class _OwnPass(threading.local):
    """Whether this thread is in a pass of cuetune's; any other call of the model must give its stock bits."""

    on = False


_own_pass = _OwnPass()


@contextmanager
def own_pass() -> Iterator[None]:
    """Within it, the model's linear layers multiply by `product`."""
    before, _own_pass.on = _own_pass.on, True
    try:
        yield
    finally:
        _own_pass.on = before


@register_flop_formula(torch.ops.mkldnn._linear_pointwise) if ONEDNN_THERE else lambda function: function
def _operations(x: Any, weight: Any, *args: Any, **kwargs: Any) -> int:
    """What PyTorch's counter is to count for a product by oneDNN, which it does not know: 2 per pair of numbers."""
    return 2 * math.prod(x) * weight[0]


class _Linear(nn.Linear):
    cuetune_stock = True  # for `compat.release`: the class before it is the model's own

    def forward(self, input: Tensor) -> Tensor:
        own = torch.compiler.is_compiling() or _own_pass.on  # only own passes are compiled
        return (product if own else F.linear)(input, self.weight, self.bias)


class _Conv1D(Conv1D):
    cuetune_stock = True

    def forward(self, x: Tensor) -> Tensor:
        if torch.compiler.is_compiling() or _own_pass.on:
            return product(x, self.weight.t(), self.bias)
        return super().forward(x)


def use_products(model: PreTrainedModel) -> None:
    """Route the linear layers of a frozen model, GPT-2's too, through `product`, in passes of cuetune's own.

    They change their class, and not their `forward`, so that the compiler takes all layers of a model for alike.
    """
    own: dict[type, type] = {nn.Linear: _Linear, Conv1D: _Conv1D}
    for module in model.modules():
        module.__class__ = own.get(type(module), type(module))


class _RootMeanSquareNorm(torch.autograd.Function):
    """w · round(x / sqrt(mean(x²) + eps)) as Llama's family writes it: the same bits, half the passes over memory."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        normed, scale = _normed(x, eps)
        ctx.save_for_backward(x, scale, weight)
        ctx.eps = eps
        return weight * normed.to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, scale, weight = ctx.saved_tensors
        if torch.is_grad_enabled():  # a gradient of this gradient is wanted, and it goes through the scale, too
            scale = _normed(x, ctx.eps)[1]
        normed = x.float() * scale
        grad = (grads[0] * weight).float()
        along = (grad * normed).mean(-1, keepdim=True)
        return (torch.addcmul(grad, normed, along, value=-1) * scale).to(x.dtype), None, None


def _normed(x: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """x / sqrt(mean(x²) + eps) in float32, and what x was multiplied by."""
    states = x.float()
    scale = torch.rsqrt(states.pow(2).mean(-1, keepdim=True) + eps)
    return states * scale, scale


def use_norms(model: PreTrainedModel) -> None:
    """Route root-mean-square norms of a frozen model through the function above where it gives their very bits."""
    for module in model.modules():
        eps, weight = getattr(module, "variance_epsilon", None), getattr(module, "weight", None)
        stock: Any = type(module)
        if not stock.__name__.endswith("RMSNorm") or not isinstance(eps, float) or weight is None:
            continue
        probe = torch.linspace(-3, 3, 2 * weight.numel(), dtype=weight.dtype, device=weight.device).view(2, -1)
        with torch.no_grad():
            if torch.equal(module(probe), _RootMeanSquareNorm.apply(probe, weight, eps)):
                module.__class__ = _own_norm(stock)


@cache
def _own_norm(stock: Any) -> Any:
    """The norm's class with our own forward and backward in our own passes; compilers fuse the stock one better."""

    def forward(self: Any, x: Tensor) -> Tensor:
        frozen = not self.weight.requires_grad
        if torch.compiler.is_compiling() or not (_own_pass.on and frozen and x.requires_grad):
            return stock.forward(self, x)  # type: ignore[attr-defined]
        return _RootMeanSquareNorm.apply(x, self.weight, self.variance_epsilon)

    return type(stock.__name__, (stock,), {"forward": forward, "__module__": stock.__module__, "cuetune_stock": True})


class _Read(threading.local):
    """The places (K,) of the running pass whose final states are read, while its last layer runs; None for all."""

    places: Tensor | None = None


_read = _Read()


def prune_last(layer: nn.Module) -> None:
    """Let a packed pass compute the last layer's feed-forward only at the places that are read; nobody sees the rest.

    With one answer a row that leaves three quarters of a Llama layer out. Families that have no such part go without.
    """
    parts = [getattr(layer, name) for name in ("mlp", "feed_forward", "ffn") if hasattr(layer, name)]
    if len(parts) == 1 and not hasattr(layer, "_cuetune_forward"):
        parts[0].forward = partial(_where_read, parts[0].forward)
        layer.forward = partial(_reading, layer.forward)  # type: ignore[assignment]


def _reading(forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    layout = kwargs.get("cuetune_layout")
    before, _read.places = _read.places, getattr(layout, "read", None)
    try:
        return forward(*args, **kwargs)
    finally:
        _read.places = before


def _where_read(forward: Callable[..., Any], hidden: Tensor, *args: Any, **kwargs: Any) -> Any:
    places = None if torch.compiler.is_compiling() else _read.places
    if places is None or hidden.dim() != 3 or hidden.shape[0] != 1 or not 0 < 2 * len(places) <= hidden.shape[1]:
        return forward(hidden, *args, **kwargs)
    if not len(places):  # nothing is read, such as when only keys are wanted; some experts take no empty input
        places = places.new_zeros(1)
    found = forward(hidden.index_select(1, places), *args, **kwargs)
    if isinstance(found, tuple):  # experts give their router's scores too, which nobody asks for here
        return (_at(places, found[0], hidden), *found[1:])
    return _at(places, found, hidden)


def _at(places: Tensor, states: Tensor, like: Tensor) -> Tensor:
    """States (1, K, d) at their places of (1, N, d), zero elsewhere."""
    return torch.zeros_like(like).index_copy(1, places, states.reshape(1, len(places), like.shape[-1]))
