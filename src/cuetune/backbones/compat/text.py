"""All that depends on the version of a library, in one place. Tested with transformers 5.x and torch 2.6 and later."""

import copy
import ctypes
import inspect
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import (
    AttentionInterface,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoModelForMultimodalLM,
    PreTrainedModel,
)
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import (
    AttentionMaskInterface,
    bidirectional_mask_function,
    causal_mask_function,
    sdpa_mask,
)
from transformers.modeling_outputs import BaseModelOutput
from transformers.models.auto import modeling_auto

from cuetune.backbones.compat.handed import HANDED_ON, running_layout
from cuetune.backbones.frozen import own_pass
from cuetune.backbones.mask_rule import MaskRule
from cuetune.errors import CuetuneError

ATTENTION = "cuetune"


CAUSAL = modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
WHOLE = (causal_mask_function, bidirectional_mask_function)  # masks that packing makes by itself


def register_attention(function: Callable[..., tuple[Tensor, Tensor | None]]) -> None:
    """Make `function` the attention of every model that is switched to `ATTENTION`, with masks as rules beside it.

    Models that are switched to `HANDED_ON`, which hand it no layout, get that of the pass in their thread.
    """

    def with_layout(*args: Any, **kwargs: Any) -> tuple[Tensor, Tensor | None]:
        return function(*args, **kwargs, cuetune_layout=running_layout())

    for name, each in ((ATTENTION, function), (HANDED_ON, with_layout)):
        AttentionInterface.register(name, each)
        AttentionMaskInterface.register(name, _mask)


def use_attention(model: PreTrainedModel) -> None:
    """Route a model's attention through the registered function. Raises CuetuneError where it has another way."""
    if not model._can_set_attn_implementation():
        raise CuetuneError("its layers do not use transformers' attention interface")
    model.set_attn_implementation(ATTENTION)


@contextmanager
def own_attention(model: PreTrainedModel) -> Iterator[None]:
    """Within it, the model computes attention by its own code (transformers' "eager"), however it was switched."""
    before = model.config._attn_implementation
    model.set_attn_implementation("eager")
    try:
        yield
    finally:
        model.set_attn_implementation(before)


class _Rules(threading.local):
    """Where the rules go that a model's masks are made of in this thread's pass; None for calls that are not ours."""

    found: list[MaskRule] | None = None


_rules = _Rules()


@contextmanager
def rules_into(found: list[MaskRule]) -> Iterator[None]:
    """Within it, a model makes no masks: the rule of each goes into `found`, and its number travels in its place."""
    before, _rules.found = _rules.found, found
    try:
        yield
    finally:
        _rules.found = before


def _mask(mask_function: Callable[..., Any] = causal_mask_function, use_vmap: bool = False, **how: Any) -> Any:
    """What transformers calls for every mask of a model; outside passes of our own, the mask that its sdpa takes."""
    if _rules.found is None:
        return sdpa_mask(mask_function=mask_function, use_vmap=use_vmap, **how)
    if use_vmap:
        raise CuetuneError("its attention mask goes by more than positions")
    rule = MaskRule.of(partial(mask_function, 0, 0), whole=mask_function in WHOLE)
    _rules.found.append(rule)
    return torch.full((1, 1, 1, 1), len(_rules.found) - 1)  # on the CPU: reading it waits for no GPU


def everything_real(like: Tensor) -> Tensor:
    """The (1, N) padding mask of a packed pass (1, N, d): transformers then asks for the rule of each mask."""
    return torch.ones(like.shape[:2], dtype=torch.long, device=like.device)


def stock_attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **how: Any
) -> tuple[Tensor, Tensor | None]:
    """The attention that a model uses when no injection is present: torch's, or its own code where that cannot do it.

    attention_mask: True where visible, (B, 1, T, K).
    """
    if how.get("softcap") is None and how.get("s_aux") is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **how)
    own = sys.modules[type(module).__module__].eager_attention_forward  # type: ignore[attr-defined]
    bias = _bias(module, query, key, attention_mask)
    return own(module, query, key, value, bias, **how)


def _bias(module: nn.Module, query: Tensor, key: Tensor, visible: Tensor | None) -> Tensor | None:
    """What the model's own attention adds to its scores: 0 where visible, else the lowest number."""
    n_queries, n_keys = query.shape[2], key.shape[2]
    if visible is None:
        if n_queries == 1 or not getattr(module, "is_causal", True):
            return None
        places = torch.arange(n_keys, device=query.device)
        visible = (places <= places[n_keys - n_queries :, None])[None, None]
    lowest = torch.finfo(query.dtype).min
    return torch.zeros(visible.shape, dtype=query.dtype, device=query.device).masked_fill(~visible, lowest)


def no_mask(like: Tensor) -> Tensor:
    """A stand-in for the attention mask: transformers takes a 4-D mask as it is and builds no (n, n) one."""
    return torch.empty((1, 1, 1, 1), dtype=torch.bool, device=like.device)


def decoder(model: PreTrainedModel) -> nn.Module:
    """The part of a causal language model that turns embeddings into final hidden states."""
    inner: Any = getattr(model, "get_decoder", lambda: None)()
    parts = [inner, model.base_model, *model.children()]
    return next(part for part in parts if isinstance(part, PreTrainedModel) and part is not model)


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


def takes(part: nn.Module, argument: str) -> bool:
    """Whether a module's forward pass has an argument of this name, e.g. `token_type_ids`."""
    return argument in inspect.signature(part.forward).parameters


def reads_ids_in_layers(part: nn.Module) -> bool:
    """Whether every layer of a decoder looks tokens up again, by their ids (Gemma 3n, small Gemma 4)."""
    return takes(part, "per_layer_inputs") and bool(setting(part.config, "hidden_size_per_layer_input"))


@contextmanager
def looking_up(part: Any, ids: Tensor) -> Iterator[None]:
    """Within it, a pass of such a decoder over embeddings is handed what its layers look up for these tokens (B, T).

    transformers' `generate` hands on no such argument in one family, and hands it to every step in the other.
    """

    def hand(_part: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        if named.get("inputs_embeds") is not None:
            named = {**named, "per_layer_inputs": part.get_per_layer_inputs(ids)}
        return arguments, named

    hook = part.register_forward_pre_hook(hand, with_kwargs=True)
    try:
        yield
    finally:
        hook.remove()


def first_output(output: Any) -> Tensor:
    """The final states of a base model's output, whatever its form."""
    states = getattr(output, "last_hidden_state", None)
    return output[0] if states is None else states


class OuterHead(nn.Module):
    """All that a model does to its final states to score words, (…, d) -> (…, V): its own code, its weights shared."""

    def __init__(self, model: PreTrainedModel, base: nn.Module) -> None:
        super().__init__()
        name = next(name for name, module in model.named_modules() if module is base and name)
        self.outer = _with(model, name, _HandThrough(base))

    def forward(self, hidden: Tensor) -> Tensor:
        return self.outer(inputs_embeds=hidden.reshape(1, -1, hidden.shape[-1])).logits.view(*hidden.shape[:-1], -1)


class MaskedHead(nn.Module):
    """What a masked language model does to hidden states before its last linear layer, (…, d) -> (…, e).

    It is the model's own code: a copy of its outer modules, its weights shared, in which the encoder hands the states
    through and the last layer does nothing.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        names = {module: name for name, module in model.named_modules()}
        self.outer = _with(model, names[model.base_model], _HandThrough(model.base_model))
        self.outer = _with(self.outer, names[model.get_output_embeddings()], nn.Identity())

    def forward(self, hidden: Tensor) -> Tensor:
        return self.outer(inputs_embeds=hidden.reshape(1, -1, hidden.shape[-1])).logits.view(*hidden.shape[:-1], -1)


class _HandThrough(nn.Module):
    """In a base model's place: gives the states that it is given, and its other attributes as they are."""

    def __init__(self, base: nn.Module) -> None:
        super().__init__()
        self.__dict__["base"] = base  # no submodule: its weights are the model's

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["base"], name)

    def forward(self, *args: Any, inputs_embeds: Tensor, **kwargs: Any) -> Any:
        return _States(last_hidden_state=inputs_embeds)  # type: ignore[arg-type]


class _States(BaseModelOutput):
    """Final states and nothing else, for code that also asks for a cache, router scores or the like."""

    def __getattr__(self, name: str) -> None:
        if name.startswith("_"):
            raise AttributeError(name)


def _with(module: Any, path: str, part: nn.Module) -> Any:
    """A shallow copy of a module with the one at `path` replaced; everything else is the original's."""
    name, _, rest = path.partition(".")
    changed = copy.copy(module)
    changed._modules = dict(module._modules)
    changed._modules[name] = _with(module._modules[name], rest, part) if rest else part
    return changed


def also_reads_texts(config: Any) -> bool:
    """Whether a model that sees or hears is a causal language model too."""
    known = (*CAUSAL, *(name for name, _ in _seeing_and_writing()))
    return config.model_type in known and hasattr(config, "get_text_config") and not config.is_encoder_decoder


def causal_class(config: Any) -> Any:
    """What loads a causal language model, with all that it also sees or hears."""
    if config.model_type in CAUSAL:
        return AutoModelForCausalLM
    return next((auto for name, auto in _seeing_and_writing() if name == config.model_type), AutoModelForCausalLM)


def _seeing_and_writing() -> Iterator[tuple[str, Any]]:
    for names, auto in (
        ("MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES", AutoModelForImageTextToText),
        ("MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES", AutoModelForMultimodalLM),
    ):
        for name in getattr(modeling_auto, names, {}):
            yield name, auto


def text_config(model: PreTrainedModel) -> Any:
    """The configuration of the text decoder, also of models that have several."""
    return model.config.get_text_config(decoder=True)


def setting(config: Any, name: str, default: Any = None) -> Any:
    """A setting of a configuration; the default where it has none, or another in each layer."""
    try:
        return getattr(config, name, default)
    except Exception:  # transformers' own error for settings by layer
        return default


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


@dataclass(frozen=True)
class LengthSwitch:
    """A rotary embedding that turns otherwise in longer sequences, prompt included.

    limit: up to this many positions nothing changes. gradual: beyond it, every length turns in its own way (dynamic
    NTK); else all longer ones turn alike (longrope).
    """

    rotary: Any
    limit: int
    gradual: bool

    def regime(self, positions: int) -> int:
        """The same number for sequences that turn alike."""
        return 0 if positions <= self.limit else positions if self.gradual else 1

    def forget(self) -> None:
        """Let go of the longest sequence so far: transformers keeps its frequencies for shorter ones."""
        for name in [name for name in vars(self.rotary) if name.endswith("max_seq_len_cached")]:
            setattr(self.rotary, name, 0)


def length_switches(model: PreTrainedModel) -> list[LengthSwitch]:
    """The rotary embeddings of a model that depend on how long a sequence is."""
    found = []
    rotary: Any
    for rotary in model.modules():
        named = getattr(rotary, "rope_type", None)
        parameters = getattr(getattr(rotary, "config", None), "rope_parameters", None) or {}
        each = [(kind, parameters[layer]) for layer, kind in named.items()] if isinstance(named, dict) else []
        for kind, given in each or [(named, parameters)]:
            if kind == "longrope":
                found.append(LengthSwitch(rotary, int(given["original_max_position_embeddings"]), gradual=False))
            elif kind and "dynamic" in kind:
                found.append(LengthSwitch(rotary, int(rotary.original_max_seq_len), gradual=True))
    return found


def length_limits(config: Any, switches: Sequence[LengthSwitch]) -> list[int]:
    """How many positions a row may take before a model's attention leaves some out, or its positions turn."""
    named = (setting(config, name) for name in ("sliding_window", "attention_chunk_size", "local_attention"))
    return [int(limit) for limit in named if isinstance(limit, int)] + [switch.limit for switch in switches]


def release(model: PreTrainedModel, attention: str) -> None:
    """Give a model back as it was loaded: its own forward passes, classes and attention."""
    for module in model.modules():
        for name in ("_cuetune_forward", "_cuetune_index", "_cuetune_gives_tuple"):
            module.__dict__.pop(name, None)
        if isinstance(module.__dict__.get("forward"), partial):
            del module.__dict__["forward"]
        if type(module).__dict__.get("cuetune_stock"):
            module.__class__ = type(module).__mro__[1]
    model.set_attn_implementation(attention)


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
    if layout is None and getattr(layer, "_cuetune_handed", False):
        layout = kwargs["cuetune_layout"] = running_layout()
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


def prepare_for_tuning(model: PreTrainedModel, gradient_checkpointing: bool, compiled: bool) -> None:
    """Switch gradient checkpointing and compiling of the layers, in passes of our own, on or off.

    transformers checkpoints only in training mode, which in some families also switches dropout on; a frozen model
    stays in evaluation mode, so its layers' forward passes are wrapped here instead. All layers share one compiled
    form; a last layer that is pruned stays as it is. Raises CuetuneError for a model without layers of one form.
    """
    layers = [module for module in model.modules() if hasattr(module, "_cuetune_forward")]
    if not layers and (gradient_checkpointing or compiled):
        asked = "--gradient-checkpointing" if gradient_checkpointing else "--compile"
        raise CuetuneError(f"{asked}: models of type {model.config.model_type!r} have no equal layers; leave it out.")
    for layer in layers:
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
