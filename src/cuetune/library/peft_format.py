"""PEFT's own saved form of a prompt: what it can hold, and how it lays the numbers out.

PROMPT_TUNING and P_TUNING (saved without its encoder): "prompt_embeddings" (P, d). PREFIX_TUNING and CARTRIDGE:
(P, L · 2 · h_kv · d_h), for each position every layer's key and then its value, keys as attention sees them.
"""

from typing import Any

import torch
from torch import Tensor

from cuetune.backbones.identity import BackboneIdentity
from cuetune.errors import CuetuneError
from cuetune.library.contents import UNKNOWN_BACKBONE
from cuetune.library.record import PeftFile
from cuetune.prompts import CalibratedPrompt, EnsemblePrompt, NearestPrompt, PrefixPrompt, Prompt, SoftPrompt

PEFT_VERSION = "0.21.2"  # the version whose format this is; tested against it
TOKENS, PREFIXES = ("PROMPT_TUNING", "P_TUNING"), ("PREFIX_TUNING", "CARTRIDGE")
# What PEFT calls the kinds of backbones. One submodule of an encoder-decoder model gets the prompt: its encoder.
TASK_TYPES = {"causal": "CAUSAL_LM", "encoder": "FEATURE_EXTRACTION", "encoder-decoder": "SEQ_2_SEQ_LM"}


def to_peft(prompt: Prompt, backbone: BackboneIdentity) -> tuple[Tensor, dict[str, Any]] | None:
    """The tensor and the `adapter_config.json` that PEFT loads, or None for a prompt that it has no form for.

    Prefixes go to PEFT for causal models only: it puts those of other models somewhere else.
    """
    if isinstance(prompt, EnsemblePrompt | CalibratedPrompt | NearestPrompt):  # more than what they add
        return None
    if prompt.reads_rows:  # a prompt of its own for every row
        return None
    if backbone.kind not in TASK_TYPES:
        return None
    injection = prompt.injection()
    if injection.per_row or injection.offsets is not None:
        return None
    if set(injection.tokens) == {0} and not injection.kv:
        tensor = injection.tokens[0].detach().float().cpu().contiguous()
        return tensor, config(backbone, "PROMPT_TUNING", tensor.shape[0], tensor.shape[1], backbone.num_heads)
    causal = backbone.kind == "causal"
    if causal and injection.kv and not injection.tokens and set(injection.kv) == set(range(backbone.num_layers)):
        pairs = [torch.stack(injection.kv[layer]) for layer in range(backbone.num_layers)]
        stacked = torch.stack(pairs).detach().float().cpu()  # (L, 2, h_kv, P, d_h)
        heads, length, size = stacked.shape[2:]
        tensor = stacked.permute(3, 0, 1, 2, 4).reshape(length, -1).contiguous()
        return tensor, config(backbone, "PREFIX_TUNING", length, heads * size, heads)
    return None


def config(backbone: BackboneIdentity, kind: str, length: int, width: int, heads: int) -> dict[str, Any]:
    """`adapter_config.json` as PEFT reads it; no key that it does not know, no path of this machine."""
    own: dict[str, dict[str, Any]] = {
        "PROMPT_TUNING": {
            "prompt_tuning_init": "RANDOM",
            "prompt_tuning_init_text": None,
            "tokenizer_name_or_path": None,
            "tokenizer_kwargs": None,
        },
        "PREFIX_TUNING": {"encoder_hidden_size": width, "prefix_projection": False},
    }
    return {
        "peft_type": kind,
        "task_type": TASK_TYPES.get(backbone.kind),
        "base_model_name_or_path": None if backbone.name == UNKNOWN_BACKBONE else backbone.name,
        "revision": backbone.revision,
        "inference_mode": True,
        "num_virtual_tokens": length,
        "token_dim": width,
        "num_transformer_submodules": 1,
        "num_attention_heads": heads,
        "num_layers": backbone.num_layers,
        **own[kind],
        "peft_version": PEFT_VERSION,
    }


def from_peft(tensor: Tensor, config: PeftFile, where: str) -> Prompt:
    """The prompt that PEFT's tensor holds. Raises CuetuneError when its shape is not what the configuration says."""
    if config.num_transformer_submodules not in (None, 1):
        raise CuetuneError(f"{where}: a prompt for encoder and decoder; only prompts for causal models can be loaded.")
    if config.peft_type in TOKENS:
        _check_shape(tensor, (config.num_virtual_tokens, config.token_dim), where)
        return SoftPrompt(tensor.float())
    layers, heads = config.num_layers or 0, config.num_attention_heads or 0
    if not layers or not heads or config.token_dim % heads:
        raise CuetuneError(f"{where}: says {layers} layers and {heads} heads of a prefix; the folder is damaged.")
    _check_shape(tensor, (config.num_virtual_tokens, layers * 2 * config.token_dim), where)
    laid = tensor.float().view(config.num_virtual_tokens, layers, 2, heads, -1).permute(2, 1, 3, 0, 4)
    return PrefixPrompt(laid[0], laid[1])


def _check_shape(tensor: Tensor, wanted: tuple[int, int], where: str) -> None:
    if tuple(tensor.shape) != wanted or not tensor.numel():
        raise CuetuneError(
            f"{where}: 'prompt_embeddings' has shape {tuple(tensor.shape)}, but the configuration says {wanted}; the "
            "folder is damaged."
        )
