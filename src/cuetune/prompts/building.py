"""Every tuned prompt by name: how it begins on a backbone, for a task. The names are those of `tune` and `compare`."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from cuetune.backbones.injection import Injection
from cuetune.backbones.text import TextBackbone
from cuetune.errors import CuetuneError
from cuetune.prompts.base import Prompt
from cuetune.prompts.dept import OffsetPrompt
from cuetune.prompts.late import LatePrompt
from cuetune.prompts.lowrank import DecomposedPrompt, UltraLowPrompt
from cuetune.prompts.prefix import PrefixNetwork, PrefixPrompt
from cuetune.prompts.ptuning import EncodedPrompt
from cuetune.prompts.residual import ResidualPrompt
from cuetune.prompts.soft import SoftPrompt


@dataclass(frozen=True)
class Start:
    """What a prompt begins from: the virtual tokens' first embeddings (P, d), and how they were chosen."""

    backbone: TextBackbone
    embeddings: Tensor
    init: str
    seed: int

    def keys_values(self) -> tuple[Tensor, Tensor]:
        """(L, h_kv, P, d_h) keys and values that the frozen model makes of the embeddings, or random ones like them."""
        keys, values = (part.float().cpu() for part in self.backbone.keys_values(self.embeddings))
        if self.init != "random":
            return keys, values
        generator = torch.Generator().manual_seed(self.seed)
        return _noise_like(keys, generator), _noise_like(values, generator)


def _noise_like(states: Tensor, generator: torch.Generator) -> Tensor:
    """Normal numbers with the mean and the spread that each layer and head has over its positions."""
    spread = states.std(dim=(-2, -1), keepdim=True)
    return states.mean(dim=-2, keepdim=True) + spread * torch.randn(states.shape, generator=generator)


def soft(start: Start) -> Prompt:
    return SoftPrompt(start.embeddings)


def prefix(start: Start, layer: int = 0) -> Prompt:
    _check_layer(start.backbone, layer)
    keys, values = start.keys_values()
    return PrefixPrompt(keys[layer:], values[layer:], layer)


def prefix_mlp(start: Start, hidden: int = 512, fit: int = 500) -> Prompt:
    keys, values = start.keys_values()
    torch.manual_seed(start.seed)
    layers, heads, _, size = keys.shape
    network = PrefixNetwork(start.embeddings.cpu(), layers, heads, size, hidden)
    if fit and start.init != "random":
        network.fit(keys, values, fit)
    return network


def p_tuning(start: Start, encoder: str = "mlp", hidden: int | None = None) -> Prompt:
    torch.manual_seed(start.seed)
    return EncodedPrompt(start.embeddings, encoder, hidden)


def residual(start: Start, bottleneck: int = 128) -> Prompt:
    torch.manual_seed(start.seed)
    return ResidualPrompt(start.embeddings, bottleneck)


def decomposed(start: Start, rank: int = 10) -> Prompt:
    return DecomposedPrompt(start.embeddings, rank)


def ultra_low(start: Start, rank: int = 64) -> Prompt:
    return UltraLowPrompt(start.embeddings, rank, start.seed)


def dept(start: Start, reach: int = 256, rank: int = 45, alpha: float = 8.0) -> Prompt:
    return OffsetPrompt(start.embeddings, reach, rank, alpha, start.seed)


def late(start: Start, layer: int | None = None, deep: bool = True) -> Prompt:
    """Enters at two thirds of the depth unless told otherwise, with new states at every layer from there on."""
    layers = start.backbone.depth
    layer = round(layers * 2 / 3) if layer is None else layer
    _check_layer(start.backbone, layer)
    states = start.backbone.layer_inputs([], Injection(tokens={0: start.embeddings}))
    return LatePrompt(torch.stack(states[layer:] if deep else states[layer : layer + 1]), layer)


def _check_layer(backbone: TextBackbone, layer: int) -> None:
    layers = backbone.depth
    if not 0 <= layer < layers:
        raise CuetuneError(f"layer {layer}: {backbone.identity.name} has layers 0 to {layers - 1}.")


@dataclass(frozen=True)
class Method:
    """One way to tune a prompt: a line for people, and the function that makes its first state.

    readout: what the method reads answers by, where the user does not say (`readouts.readout_for`).
    """

    title: str
    build: Callable[..., Prompt]
    readout: str = "auto"

    @property
    def options(self) -> dict[str, Any]:
        """Its own options with their defaults."""
        parameters = list(inspect.signature(self.build).parameters.values())[1:]
        return {parameter.name: parameter.default for parameter in parameters}


METHODS = {
    "soft": Method("virtual tokens at the embedding layer (Lester 2021)", soft),
    "prefix": Method("keys and values in every layer (Li & Liang 2021, direct)", prefix),
    "prefix-mlp": Method("the same, through an MLP that is dropped afterwards (Li & Liang 2021)", prefix_mlp),
    "p-tuning-v2": Method("keys and values in every layer and a trained head (P-tuning v2, Liu 2022)", prefix, "head"),
    "p-tuning": Method("virtual tokens through an MLP or LSTM that is dropped afterwards (Liu 2021)", p_tuning),
    "residual": Method("virtual tokens with a residual network that is dropped afterwards (2023)", residual),
    "decomposed": Method("virtual tokens of low rank (DPT 2023)", decomposed),
    "ultra-low": Method("virtual tokens from few numbers and a frozen random matrix (ULPT 2025)", ultra_low),
    "dept": Method("a short prompt and low-rank offsets of the text (DePT 2024)", dept),
    "late": Method("virtual states from two thirds of the depth on; below, nothing is recomputed (2022)", late),
}
DEEP = ("prefix", "prefix-mlp", "p-tuning-v2", "late")  # they act inside layers


def build(method: str, start: Start, options: Mapping[str, Any]) -> Prompt:
    """The first state of a prompt by its method's name. Raises CuetuneError for an unknown name or option."""
    if method not in METHODS:
        raise CuetuneError(
            f"unknown prompt {method!r}; choose one of {', '.join(METHODS)}, hard, calibrated, nearest or "
            "soft-from-hard."
        )
    return METHODS[method].build(start, **given_options(method, METHODS[method].options, options))


def build_from(methods: Mapping[str, Method], rows: str, method: str, start: Any, options: Mapping[str, Any]) -> Prompt:
    """As `build` for rows of another kind, which have methods of their own. rows: what they are called."""
    if method not in methods:
        raise CuetuneError(f"unknown prompt {method!r} for {rows}; choose one of {', '.join(methods)}.")
    return methods[method].build(start, **given_options(method, methods[method].options, options))


def given_options(
    method: str, known: Mapping[str, Any], options: Mapping[str, Any], kind: str = "prompt"
) -> dict[str, Any]:
    """The options of a method that were given, in the types of `known`. Raises CuetuneError for an unknown one.

    kind: what the method is called on the command line, "prompt" or "method".
    """
    for name in options:
        if name not in known:
            listed = ", ".join(f"{key}={value}" for key, value in known.items()) or "none"
            raise CuetuneError(f"{kind} {method!r} has no option {name!r} (its options: {listed}).")
    return {name: _like(known[name], value, f"--{kind}-option {name}={value}") for name, value in options.items()}


def _like(default: Any, value: Any, where: str) -> Any:
    """A value from the command line in the type of the option's default."""
    if not isinstance(value, str) or isinstance(default, str):
        return value
    if isinstance(default, bool):
        if value.lower() not in ("true", "false", "yes", "no"):
            raise CuetuneError(f"{where}: give true or false.")
        return value.lower() in ("true", "yes")
    try:
        return float(value) if isinstance(default, float) else int(value)
    except ValueError as error:
        raise CuetuneError(f"{where}: give a number.") from error
