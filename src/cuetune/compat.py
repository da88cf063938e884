"""All that depends on the version of a library, in one place. Tested with transformers 5.x and torch 2.6 and later."""

import copy
import ctypes
import inspect
import math
import os
import platform
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import register_flop_formula
from transformers import AttentionInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask
from transformers.modeling_outputs import BaseModelOutput
from transformers.pytorch_utils import Conv1D

ATTENTION = "cuetune"
# oneDNN, and torch above it, keep the code they made for the last 1,024 shapes of products: more than half a
# gigabyte, and hardly any is used again, because packed passes differ in length. Read when the first product is made.
for variable in ("LRU_CACHE_CAPACITY", "ONEDNN_PRIMITIVE_CACHE_CAPACITY"):
    os.environ.setdefault(variable, "64")
ONEDNN = (  # on other processors torch itself takes the best library
    platform.machine().lower() in ("x86_64", "amd64")
    and torch.backends.mkldnn.is_available()
    and hasattr(torch.ops.mkldnn, "_linear_pointwise")
)


def register_attention(function: Callable[..., tuple[Tensor, Tensor | None]]) -> None:
    """Make `function` the attention of every model that is switched to `ATTENTION`, with stock masks beside it."""
    AttentionInterface.register(ATTENTION, function)
    AttentionMaskInterface.register(ATTENTION, sdpa_mask)


def use_attention(model: PreTrainedModel) -> None:
    """Route a model's attention through the registered function."""
    model.set_attn_implementation(ATTENTION)


def stock_attention(*args: Any, **kwargs: Any) -> tuple[Tensor, Tensor | None]:
    """The attention that a model uses when no injection is present."""
    return sdpa_attention_forward(*args, **kwargs)


def no_mask(like: Tensor) -> Tensor:
    """A stand-in for the attention mask: transformers takes a 4-D mask as it is and builds no (n, n) one."""
    return torch.empty((1, 1, 1, 1), dtype=torch.bool, device=like.device)


def decoder(model: PreTrainedModel) -> nn.Module:
    """The part of a causal language model that turns embeddings into final hidden states."""
    inner = getattr(model, "get_decoder", lambda: None)()
    return inner if inner is not None and inner is not model else model.base_model


def decoder_layers(model: PreTrainedModel) -> nn.ModuleList:
    """The decoder's layers in order: its longest list of modules of the configured depth."""
    return layers_of(decoder(model), text_config(model).num_hidden_layers)


def layers_of(part: nn.Module, depth: int) -> nn.ModuleList:
    """The first list of `depth` modules in a part of a model. Raises LookupError where there is none."""
    lists = [m for m in part.modules() if isinstance(m, nn.ModuleList) and len(m) == depth]
    if not lists:
        raise LookupError(f"{type(part).__name__} has no list of {depth} layers")
    return lists[0]


def encoder_layers(model: PreTrainedModel) -> list[tuple[int | None, nn.Module]]:
    """An encoder's layers with their numbers; None where one module is several layers (ALBERT)."""
    base = model.base_model
    if hasattr(model.config, "num_hidden_groups"):
        groups = base.encoder.albert_layer_groups  # type: ignore[union-attr]
        return [(None, layer) for group in groups for layer in group.albert_layers]  # type: ignore[union-attr]
    return list(enumerate(layers_of(base, model.config.num_hidden_layers)))


def encoder_and_decoder(model: PreTrainedModel) -> tuple[nn.Module, nn.Module]:
    """The two stacks of an encoder-decoder model."""
    return model.get_encoder(), model.get_decoder()


def before_and_after_head(model: PreTrainedModel, hidden: Tensor) -> tuple[Tensor, Tensor | None]:
    """What encoder-decoder models do around their head: states as it takes them (T5's scale), and BART's bias (V,)."""
    if getattr(model.config, "scale_decoder_outputs", False):
        hidden = hidden * model.config.d_model**-0.5
    bias: Tensor | None = getattr(model, "final_logits_bias", None)
    return hidden, None if bias is None else bias[0]


def first_position(model: PreTrainedModel) -> int:
    """The position id of a text's first token: the RoBERTa family leaves the ids up to its padding token's free."""
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding) and module.padding_idx is not None:
            return module.padding_idx + 1
    return 0


def takes(model: PreTrainedModel, argument: str) -> bool:
    """Whether the base model's forward pass has an argument of this name, e.g. `token_type_ids`."""
    return argument in inspect.signature(model.base_model.forward).parameters


class MaskedHead(nn.Module):
    """What a masked language model does to hidden states before its last linear layer, (…, d) -> (…, e).

    It is the model's own code: a copy of its outer modules, its weights shared, in which the encoder hands the states
    through and the last layer does nothing.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        names = {module: name for name, module in model.named_modules()}
        self.outer = _with(model, names[model.base_model], _HandThrough())
        self.outer = _with(self.outer, names[model.get_output_embeddings()], nn.Identity())

    def forward(self, hidden: Tensor) -> Tensor:
        return self.outer(inputs_embeds=hidden.reshape(1, -1, hidden.shape[-1])).logits.view(*hidden.shape[:-1], -1)


class _HandThrough(nn.Module):
    def forward(self, *args: Any, inputs_embeds: Tensor, **kwargs: Any) -> Any:
        return BaseModelOutput(last_hidden_state=inputs_embeds)  # type: ignore[arg-type]


def _with(module: Any, path: str, part: nn.Module) -> Any:
    """A shallow copy of a module with the one at `path` replaced; everything else is the original's."""
    name, _, rest = path.partition(".")
    changed = copy.copy(module)
    changed._modules = dict(module._modules)
    changed._modules[name] = _with(module._modules[name], rest, part) if rest else part
    return changed


def text_config(model: PreTrainedModel) -> Any:
    """The configuration of the text decoder, also of models that have several."""
    return model.config.get_text_config(decoder=True)


def adjust_logits(config: Any, logits: Tensor) -> Tensor:
    """What some families do to logits after the head: Gemma's soft cap, Cohere's and Granite's scale."""
    if getattr(config, "logits_scaling", None):
        logits = logits / config.logits_scaling
    if getattr(config, "logit_scale", None):
        logits = logits * config.logit_scale
    if getattr(config, "final_logit_softcapping", None):
        cap = config.final_logit_softcapping
        logits = torch.tanh(logits / cap) * cap
    return logits


def cpu_has_bf16() -> bool:
    """True when this processor multiplies bfloat16 matrices in hardware."""
    probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported", "_is_arm_bf16_supported")
    return any(bool(getattr(torch.cpu, probe, lambda: False)()) for probe in probes)


def filled_cache(keys_values: list[tuple[Tensor, Tensor]]) -> Any:
    """A transformers cache that already holds `keys_values`, one (B, h_kv, P, d_h) pair per layer.

    Its length is that of the longest layer, so that positions and masks are right for layers that hold fewer.
    """
    from transformers import DynamicCache

    lengths = [keys.shape[2] for keys, _ in keys_values]
    longest = lengths.index(max(lengths))

    class Filled(DynamicCache):
        def get_seq_length(self, layer_idx: int = 0) -> int:
            return super().get_seq_length(longest)

        def get_mask_sizes(self, query_length: int, layer_idx: int) -> tuple[int, int]:
            return super().get_mask_sizes(query_length, longest)

    cache = Filled()
    for layer, (keys, values) in enumerate(keys_values):
        cache.update(keys, values, layer)
    return cache


def keep_freed_memory() -> None:
    """Ask glibc to keep freed blocks for the next tensor instead of handing them back to the system each time.

    A pass frees and asks for the same few megabytes thousands of times, and each block that went back costs page
    faults when it comes again: a few per cent of a training step, more of a prediction. Does nothing without glibc.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for option, value in ((-3, 32 << 20), (-1, 2**31 - 1), (-2, 64 << 20)):  # mmap threshold, trim, top pad
            mallopt(option, value)


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

    torch multiplies float32 matrices on x86 by MKL, which takes AMD's processors for generic ones; oneDNN, which torch
    ships too and uses for bfloat16, asks what the processor can do: measured twice as fast there, forward and backward.
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


@register_flop_formula(torch.ops.mkldnn._linear_pointwise) if ONEDNN else lambda function: function
def _operations(x: Any, weight: Any, *args: Any, **kwargs: Any) -> int:
    """What PyTorch's counter is to count for a product by oneDNN, which it does not know: 2 per pair of numbers."""
    return 2 * math.prod(x) * weight[0]


class _Linear(nn.Linear):
    def forward(self, input: Tensor) -> Tensor:
        own = torch.compiler.is_compiling() or _own_pass.on  # only own passes are compiled
        return (product if own else F.linear)(input, self.weight, self.bias)


class _Conv1D(Conv1D):
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
        ctx.save_for_backward(x, normed, scale, weight)
        ctx.eps = eps
        return weight * normed.to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, normed, scale, weight = ctx.saved_tensors
        if torch.is_grad_enabled():  # a gradient of this gradient is wanted, and it goes through x
            normed, scale = _normed(x, ctx.eps)
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

    return type(stock.__name__, (stock,), {"forward": forward, "__module__": stock.__module__})


def wrap_layer(layer: nn.Module, index: int | None) -> None:
    """Let a packed pass put states into a layer, or skip it. Every other call goes through as before.

    index: the layer's number; None for a module that is several layers, which are then numbered as they are called.
    """
    plain = getattr(layer, "_cuetune_forward", layer.forward)  # a model may be wrapped again, e.g. a copy
    layer._cuetune_forward = plain  # type: ignore[assignment]
    layer._cuetune_index = index  # type: ignore[assignment]
    layer.forward = partial(_layer, layer, index, plain, partial(_numbered, plain))


def _layer(
    layer: nn.Module,
    number: int | None,
    stock: Callable[..., Any],
    own: Callable[..., Any],
    hidden: Tensor,
    *args: Any,
    **kwargs: Any,
) -> Any:
    """stock: the layer for calls that are not ours. own: for ours, (number, states, …); perhaps compiled."""
    layout = kwargs.get("cuetune_layout")
    if layout is None:
        return stock(hidden, *args, **kwargs)
    index = layout.next_layer() if number is None else number
    hidden = layout.enter(index, hidden)
    if not layout.runs(index):
        return (hidden,) if layer._cuetune_gives_tuple else hidden
    output = own(index, hidden, *args, **kwargs)
    if not hasattr(layer, "_cuetune_gives_tuple"):  # known from the self-test on
        layer._cuetune_gives_tuple = isinstance(output, tuple)  # type: ignore[assignment]
    return output


def _numbered(forward: Callable[..., Any], index: int, *args: Any, **kwargs: Any) -> Any:
    """Attention learns from the layout which layer it is in: as an argument, the compiler would make each its own."""
    kwargs["cuetune_layout"].layer = index
    return forward(*args, **kwargs)


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
    if places is None or hidden.dim() != 3 or hidden.shape[0] != 1 or 2 * len(places) > hidden.shape[1]:
        return forward(hidden, *args, **kwargs)
    found = forward(hidden.index_select(1, places), *args, **kwargs)
    return torch.zeros_like(hidden).index_copy(1, places, found)


def prepare_for_tuning(model: PreTrainedModel, gradient_checkpointing: bool, compiled: bool) -> None:
    """Switch gradient checkpointing and compiling of the layers, in passes of our own, on or off.

    transformers checkpoints only in training mode, which in some families also switches dropout on; a frozen model
    stays in evaluation mode, so its layers' forward passes are wrapped here instead. All layers share one compiled
    form; a last layer that is pruned stays as it is.
    """
    for layer in [module for module in model.modules() if hasattr(module, "_cuetune_forward")]:
        plain: Any = layer._cuetune_forward
        index: Any = layer._cuetune_index
        pruned = isinstance(plain, partial)
        own = partial(_numbered, torch.compile(plain, dynamic=True) if compiled and not pruned else plain)
        layer.forward = partial(
            _layer, layer, index, plain, partial(_checkpointed, own) if gradient_checkpointing else own
        )


def _checkpointed(forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    if not torch.is_grad_enabled():
        return forward(*args, **kwargs)
    return checkpoint(partial(_in_own_pass, forward), *args, use_reentrant=False, **kwargs)


def _in_own_pass(forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Backward runs a layer again when its pass is over."""
    with own_pass():
        return forward(*args, **kwargs)
