"""How every prompt for texts begins on a backbone, by the name that `tune` and `compare` know."""

from dataclasses import dataclass

import torch
from torch import Tensor

from cuetune.backbones.injection import Injection
from cuetune.backbones.text import TextBackbone
from cuetune.prompts.base import Prompt
from cuetune.prompts.dept import OffsetPrompt
from cuetune.prompts.late import LatePrompt
from cuetune.prompts.lowrank import DecomposedPrompt, UltraLowPrompt
from cuetune.prompts.prefix import PrefixNetwork
from cuetune.prompts.ptuning import EncodedPrompt
from cuetune.prompts.residual import ResidualPrompt
from cuetune.prompts.soft import SoftPrompt
from cuetune.prompts.start import Method, Start, prefix


@dataclass(frozen=True)
class TextStart(Start):
    """The virtual tokens' first embeddings (P, d), and how they were chosen."""

    modality, rows = "text", "texts"

    backbone: TextBackbone
    embeddings: Tensor
    init: str
    seed: int

    @property
    def depth(self) -> int:
        return self.backbone.depth

    def keys_values(self) -> tuple[Tensor, Tensor]:
        """What the frozen model makes of the embeddings, or random numbers like that."""
        keys, values = (part.float().cpu() for part in self.backbone.keys_values(self.embeddings))
        if self.init != "random":
            return keys, values
        generator = torch.Generator().manual_seed(self.seed)
        return _noise_like(keys, generator), _noise_like(values, generator)


def _noise_like(states: Tensor, generator: torch.Generator) -> Tensor:
    """Normal numbers with the mean and the spread that each layer and head has over its positions."""
    spread = states.std(dim=(-2, -1), keepdim=True)
    return states.mean(dim=-2, keepdim=True) + spread * torch.randn(states.shape, generator=generator)


def soft(start: TextStart) -> Prompt:
    return SoftPrompt(start.embeddings)


def prefix_mlp(start: TextStart, hidden: int = 512, fit: int = 500) -> Prompt:
    keys, values = start.keys_values()
    torch.manual_seed(start.seed)
    layers, heads, _, size = keys.shape
    network = PrefixNetwork(start.embeddings.cpu(), layers, heads, size, hidden)
    if fit and start.init != "random":
        network.fit(keys, values, fit)
    return network


def p_tuning(start: TextStart, encoder: str = "mlp", hidden: int | None = None) -> Prompt:
    torch.manual_seed(start.seed)
    return EncodedPrompt(start.embeddings, encoder, hidden)


def residual(start: TextStart, bottleneck: int = 128) -> Prompt:
    torch.manual_seed(start.seed)
    return ResidualPrompt(start.embeddings, bottleneck)


def decomposed(start: TextStart, rank: int = 10) -> Prompt:
    return DecomposedPrompt(start.embeddings, rank)


def ultra_low(start: TextStart, rank: int = 64) -> Prompt:
    return UltraLowPrompt(start.embeddings, rank, start.seed)


def dept(start: TextStart, reach: int = 256, rank: int = 45, alpha: float = 8.0) -> Prompt:
    return OffsetPrompt(start.embeddings, reach, rank, alpha, start.seed)


def late(start: TextStart, layer: int | None = None, deep: bool = True) -> Prompt:
    """Enters at two thirds of the depth unless told otherwise, with new states at every layer from there on."""
    layers = start.backbone.depth
    layer = round(layers * 2 / 3) if layer is None else layer
    start.check_layer(layer)
    states = start.backbone.layer_inputs([], Injection(tokens={0: start.embeddings}))
    return LatePrompt(torch.stack(states[layer:] if deep else states[layer : layer + 1]), layer)


TEXT_METHODS = {
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
