"""The shape of a decoder: what its floating-point operations, memory and parameters follow from."""

import re
from dataclasses import dataclass, replace
from typing import Any

from cuetune.errors import CuetuneError
from cuetune.support.plugins import resolve_model

UNITS = {"": 1.0, "k": 1e3, "m": 1e6, "b": 1e9, "t": 1e12}


@dataclass(frozen=True)
class Shape:
    """A decoder-only transformer.

    layers L; width d; heads h and kv_heads h_kv, of head_size d_h each; ffn f, the width between the feed-forward
    matrices; gated: three feed-forward matrices instead of two; vocab V; tied: input and output embeddings are one
    table. name, source: which model this is, and where its shape is published. pruned: whether a pass leaves out the
    last layer's feed-forward where nothing is read (`backbones.frozen.prune_last`).
    """

    name: str
    layers: int
    width: int
    heads: int
    kv_heads: int
    head_size: int
    ffn: int
    gated: bool
    vocab: int
    tied: bool
    source: str
    pruned: bool = True

    @property
    def qkv(self) -> int:
        """Parameters of one layer's query, key and value matrices."""
        return self.width * self.head_size * (self.heads + 2 * self.kv_heads)

    @property
    def matrices(self) -> int:
        """Parameters m of all of one layer's matrices: queries, keys, values, output, feed-forward."""
        return self.qkv + self.width * self.head_size * self.heads + self.feed_forward

    @property
    def feed_forward(self) -> int:
        """Parameters m_ff of one layer's feed-forward matrices."""
        return (3 if self.gated else 2) * self.width * self.ffn

    @property
    def table(self) -> int:
        """Parameters of one embedding table, V·d."""
        return self.vocab * self.width

    @property
    def parameters(self) -> int:
        """All parameters N, without norms, biases and learned positions (well under 1 %)."""
        return self.layers * self.matrices + (1 if self.tied else 2) * self.table


LLAMA3 = "Grattafiori et al. 2024, The Llama 3 Herd of Models, table 3, and the model's config.json"
SMOLLM2 = "Ben Allal et al. 2025, SmolLM2, and the model's config.json"
PUBLISHED = {
    "135M": Shape("SmolLM2-135M", 30, 576, 9, 3, 64, 1536, True, 49152, True, SMOLLM2),
    "360M": Shape("SmolLM2-360M", 32, 960, 15, 5, 64, 2560, True, 49152, True, SMOLLM2),
    "1B": Shape("Llama-3.2-1B", 16, 2048, 32, 8, 64, 8192, True, 128256, True, "the model's config.json"),
    "2B": Shape("Gemma-2B", 18, 2048, 8, 1, 256, 16384, True, 256000, True, "Gemma Team 2024, Gemma, table 1"),
    "3B": Shape("Llama-3.2-3B", 28, 3072, 24, 8, 128, 8192, True, 128256, True, "the model's config.json"),
    "7B": Shape(
        "Mistral-7B", 32, 4096, 32, 8, 128, 14336, True, 32000, False, "Jiang et al. 2023, Mistral 7B, table 1"
    ),
    "8B": Shape("Llama-3-8B", 32, 4096, 32, 8, 128, 14336, True, 128256, False, LLAMA3),
    "70B": Shape("Llama-3-70B", 80, 8192, 64, 8, 128, 28672, True, 128256, False, LLAMA3),
    "405B": Shape("Llama-3.1-405B", 126, 16384, 128, 8, 128, 53248, True, 128256, False, LLAMA3),
}


def shape_of_size(text: str) -> Shape:
    """The shape behind a size such as "2B", "350M" or "1.3e9": a published model of that name, or one scaled to it.

    Raises CuetuneError for what is no size, or one outside 1 million to 10 trillion parameters.
    """
    if text.strip().upper() in PUBLISHED:
        return PUBLISHED[text.strip().upper()]
    match = re.fullmatch(r"(\d+(?:\.\d+)?(?:e\d+)?)\s*([kmbt]?)", text.strip().lower())
    if match is None:
        raise CuetuneError(f"--params {text!r}: is no size; write a number of parameters such as 2B, 350M or 1.3e9.")
    wanted = float(match[1]) * UNITS[match[2]]
    if not 1e6 <= wanted <= 1e13:
        raise CuetuneError(f"--params {text!r}: {wanted:.3g} parameters; plans reach from 1M to 10T, e.g. 2B.")
    return scaled(wanted)


def scaled(parameters: float) -> Shape:
    """The published shape nearest in size, with layers, width and feed-forward scaled to `parameters`."""
    model = min(PUBLISHED.values(), key=lambda shape: max(shape.parameters / parameters, parameters / shape.parameters))
    factor = (parameters / model.parameters) ** (1 / 3)
    groups = max(1, model.heads // model.kv_heads)
    kv_heads = max(1, round(model.kv_heads * factor))
    width = groups * kv_heads * model.head_size * model.width // (model.heads * model.head_size)
    layers = max(1, round(model.layers * factor))
    narrow = replace(
        model,
        name=f"{parameters:.3g} parameters",
        layers=layers,
        width=width,
        heads=groups * kv_heads,
        kv_heads=kv_heads,
        ffn=0,
        source=f"scaled from {model.name}: {model.source}",
    )
    per_ffn = layers * width * (3 if model.gated else 2)
    ffn = round((parameters - narrow.parameters) / per_ffn)
    if ffn < 1:  # a table for the whole vocabulary is already more than that: models so small have short ones
        narrow = replace(narrow, vocab=max(256, int(parameters * 0.25 / width)))
        ffn = max(1, round((parameters - narrow.parameters) / per_ffn))
    return replace(narrow, ffn=ffn)


def shape_of_config(config: Any, name: str) -> Shape:
    """The shape of a transformers model from its configuration (GPT-2, GPT-NeoX, OPT, Llama, Gemma, Mistral, Qwen, …).

    Raises CuetuneError when the configuration does not describe a plain decoder.
    """
    config = config.get_text_config()
    try:
        width, heads = int(config.hidden_size), int(config.num_attention_heads)
        layers, vocab = int(config.num_hidden_layers), int(config.vocab_size)
    except (AttributeError, TypeError) as error:
        raise CuetuneError(f"{name}: its config.json describes no decoder ({error}); give --params instead.") from error
    experts = getattr(config, "num_local_experts", None) or getattr(config, "num_experts", None)
    if experts or getattr(config, "is_encoder_decoder", False):
        found = "an encoder with a decoder" if not experts else f"a mixture of {experts} experts"
        raise CuetuneError(f"{name}: is {found}; plans are for plain decoders, so give the size with --params.")
    kind = str(config.model_type)
    sizes = [getattr(config, key, None) for key in ("intermediate_size", "ffn_dim", "n_inner")]
    gated = kind not in {"gpt2", "gpt_neox", "opt", "phi", "bloom", "falcon", "gptj", "gpt_bigcode", "starcoder2"}
    return Shape(
        name=name,
        layers=layers,
        width=width,
        heads=heads,
        kv_heads=int(getattr(config, "num_key_value_heads", None) or heads),
        head_size=int(getattr(config, "head_dim", None) or width // heads),
        ffn=int(next((size for size in sizes if size), 4 * width)),
        gated=gated,
        vocab=vocab,
        tied=bool(getattr(config, "tie_word_embeddings", True)),
        source=f"its config.json (model type {kind})",
        pruned=kind != "opt",  # its feed-forward is no part of its own
    )


def shape_of_model(name: str) -> Shape:
    """The shape of a model by name: bundled, a local folder or the hub; only its config.json is read.

    Raises CuetuneError when there is none, or it describes no plain decoder.
    """
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(resolve_model(name, pull_missing=False))
    except (OSError, ValueError, KeyError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise CuetuneError(
            f"--model {name}: no configuration found ({reason}); give its size with --params."
        ) from error
    return shape_of_config(config, name)
