"""From a GGUF file to a transformers folder, once: weights restored from 4 bits, the tokenizer rebuilt.

Both are read with `gguf`'s own reader and arithmetic. transformers reads GGUF too, but takes SmolLM2's pre-tokenizer
for GPT-2's, which splits "½" and the like differently (transformers 5.23), keeps the weights packed by default, and
needs `accelerate`.
"""

import re
from pathlib import Path
from typing import Any

import torch
from gguf import GGUFReader, dequantize
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor

CONTROL = 3  # GGUF's token type of special tokens
OUTER = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
LAYER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def convert(gguf: Path, folder: Path) -> None:
    """Write configuration, weights and tokenizer of the Llama model in `gguf` to `folder`.

    Weights are kept in float16: a restored 4-bit value is scale · q + minimum with float16 scale and minimum, so
    float16 loses little. On 115 tokens of English the logits of SmolLM2-135M move by 0.02 at most against float32 (KL
    1.5e-6 per token); bfloat16 moves them by 0.13 (KL 4.5e-5) for the same bytes, and float32 doubles the file.
    Raises ValueError when the file is not of a Llama model or its tokenizer is of a kind that is not known.
    """
    from transformers import AutoConfig, GenerationConfig

    reader = GGUFReader(str(gguf))
    config = AutoConfig.from_pretrained(str(gguf.parent), gguf_file=gguf.name)
    state = _weights(reader, config)
    config.dtype = torch.float16
    config.architectures = [_checked(config, state)]
    save_file(state, str(folder / "model.safetensors"), metadata={"format": "pt"})
    config.save_pretrained(folder)
    GenerationConfig.from_model_config(config).save_pretrained(folder)
    _tokenizer(reader, config.max_position_embeddings).save_pretrained(folder)


def _weights(reader: GGUFReader, config: Any) -> dict[str, Tensor]:
    """Every tensor under its name in transformers, in float16. Tied output rows are not in the file, and stay out."""
    state = {}
    for tensor in reader.tensors:
        name = _name(tensor.name)
        values = torch.from_numpy(dequantize(tensor.data, tensor.tensor_type).copy())  # (out, in) or (d,), float32
        if name.endswith("q_proj.weight"):
            values = _unpermute(values, config.num_attention_heads)
        elif name.endswith("k_proj.weight"):
            values = _unpermute(values, config.num_key_value_heads)
        state[name] = values.to(torch.float16).contiguous()
    return state


def _name(name: str) -> str:
    """blk.3.attn_q.weight -> model.layers.3.self_attn.q_proj.weight"""
    if (layer := re.fullmatch(r"blk\.(\d+)\.(\w+)\.weight", name)) and layer[2] in LAYER:
        return f"model.layers.{layer[1]}.{LAYER[layer[2]]}.weight"
    if (outer := name.removesuffix(".weight")) in OUTER:
        return f"{OUTER[outer]}.weight"
    raise ValueError(f"GGUF tensor {name!r} is not of a Llama model")


def _unpermute(values: Tensor, heads: int) -> Tensor:
    """GGUF keeps the two halves that RoPE turns together interleaved, transformers one after the other. (h·d_h, d)"""
    rows, width = values.shape
    return values.reshape(heads, rows // heads // 2, 2, width).swapaxes(1, 2).reshape(rows, width)


def _checked(config: Any, state: dict[str, Tensor]) -> str:
    """The class that these weights fit, name by name and shape by shape; nothing may be missing or left over."""
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    expected = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    if config.tie_word_embeddings:
        expected.pop("lm_head.weight")
    found = {name: tuple(value.shape) for name, value in state.items()}
    if wrong := sorted(dict(expected.items() ^ found.items())):
        raise ValueError(f"GGUF weights do not fit {type(model).__name__}: {', '.join(wrong[:3])}")
    return type(model).__name__


def _tokenizer(reader: GGUFReader, longest: int) -> Any:
    """The byte-level BPE tokenizer that a GGUF file describes, with its special tokens and chat template."""
    from transformers import PreTrainedTokenizerFast

    read = {
        name.removeprefix("tokenizer."): field.contents()
        for name, field in reader.fields.items()
        if name.startswith("tokenizer.")
    }
    if read.get("ggml.add_bos_token"):
        raise ValueError("the GGUF file wants a BOS token before every text, which is not rebuilt here")
    tokens, types = read["ggml.tokens"], read["ggml.token_type"]
    merges = [tuple(merge.split(" ", 1)) for merge in read["ggml.merges"]]
    inner = Tokenizer(models.BPE(vocab={token: number for number, token in enumerate(tokens)}, merges=merges))
    inner.pre_tokenizer = _pre_tokenizer(read["ggml.pre"])
    inner.decoder = decoders.ByteLevel()
    special = [token for token, kind in zip(tokens, types, strict=True) if kind == CONTROL]
    inner.add_special_tokens(special)
    named = {
        f"{role}_token": tokens[read[f"ggml.{key}_token_id"]]
        for role, key in (("bos", "bos"), ("eos", "eos"), ("unk", "unknown"), ("pad", "padding"))
        if f"ggml.{key}_token_id" in read
    }
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        chat_template=read.get("chat_template"),
        additional_special_tokens=special,
        model_max_length=longest,
        **named,
    )


def _pre_tokenizer(kind: str) -> Any:
    """How text is cut before merging; GGUF names it by the model that brought it in. SmolLM takes each digit alone."""
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    if kind in ("smollm", "refact", "starcoder", "command-r"):
        return pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), byte_level])
    if kind in ("gpt-2", "default"):
        return byte_level
    raise ValueError(f"GGUF pre-tokenizer {kind!r} is not known; add its rule to {Path(__file__).name}")
