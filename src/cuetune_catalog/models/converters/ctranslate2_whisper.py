"""From a CTranslate2 file to a transformers folder, once: Whisper, restored from 16 bits.

The file is a list of named tensors and of names that mean the same tensor. Queries, keys and values of a layer stand in
one matrix; keys have no bias in Whisper, and the zeros that stand for it are left out. Only numbers are read.
"""

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

TYPES: tuple[Any, ...] = (np.float32, np.int8, np.int16, np.int32, np.float16)  # by their number in the file
HEAD = 64  # numbers of a head, in every Whisper
CONTEXT = {"max_source_positions": 1500, "max_target_positions": 448}
NORMS = {"self_attention/layer_norm": "self_attn_layer_norm", "ffn/layer_norm": "final_layer_norm"}
LINEAR = {"self_attention/linear_1": "self_attn.out_proj", "ffn/linear_0": "fc1", "ffn/linear_1": "fc2"}
START, END = "<|startoftranscript|>", "<|endoftext|>"
EXTRACTOR = {"feature_extractor_type": "WhisperFeatureExtractor", "sampling_rate": 16000}


def convert(source: Path, folder: Path, **sizes: int) -> None:
    """Write configuration, weights, tokenizer and feature extractor of the model in the folder `source` to `folder`.

    source: `model.bin`, or its parts, with `config.json` and `tokenizer.json`. sizes: of another model than OpenAI's.
    Raises ValueError when the file ends too early or its weights do not fit, KeyError when it lacks one.
    """
    parts = sorted(source.glob("model.bin*"))
    weights = dict(tensors(b"".join(part.read_bytes() for part in parts)))
    start, end = _write_tokenizer(source / "tokenizer.json", folder)
    model = _model(weights, start, end, sizes)
    spec = json.loads((source / "config.json").read_text(encoding="utf-8"))
    model.generation_config.suppress_tokens = spec.get("suppress_ids")
    model.generation_config.begin_suppress_tokens = spec.get("suppress_ids_begin")
    model.save_pretrained(folder)
    extractor = {**EXTRACTOR, "feature_size": model.config.num_mel_bins}
    (folder / "preprocessor_config.json").write_text(json.dumps(extractor, indent=2) + "\n", encoding="utf-8")


def tensors(data: bytes) -> Iterator[tuple[str, Tensor]]:
    """Every name in the file with its tensor. Raises ValueError for a file that ends too early."""
    at = 0

    def number(form: str) -> int:
        nonlocal at
        (value,) = struct.unpack_from(f"<{form}", data, at)
        at += struct.calcsize(f"<{form}")
        return value

    def text() -> str:
        nonlocal at
        size = number("H")
        at += size
        if at > len(data):
            raise ValueError("a name is cut")
        return data[at - size : at - 1].decode()  # the last byte is zero

    try:
        number("I"), text(), number("I")  # versions, and what kind of model it is
        found: dict[str, Tensor] = {}
        for _ in range(number("I")):
            name, shape = text(), [number("I") for _ in range(number("B"))]
            kind, size = np.dtype(TYPES[number("B")]), number("I")
            values = np.frombuffer(data, kind, size // kind.itemsize, at).reshape(shape)
            found[name] = torch.from_numpy(values.copy())
            at += size
        for _ in range(number("I")):
            name = text()
            found[name] = found[text()]
    except (struct.error, IndexError, ValueError) as error:
        raise ValueError("the file ends too early") from error
    yield from found.items()


def _model(weights: dict[str, Tensor], start: int, end: int, sizes: dict[str, int]) -> Any:
    from transformers import WhisperConfig, WhisperForConditionalGeneration

    words, width = weights["decoder/embeddings/weight"].shape
    depths = {side: _depth(weights, side) for side in ("encoder", "decoder")}
    sided: dict[str, int] = {}
    for side, depth in depths.items():
        sided |= {f"{side}_layers": depth, f"{side}_ffn_dim": 4 * width, f"{side}_attention_heads": width // HEAD}
    special = {"decoder_start_token_id": start, **dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"), end)}
    bands = weights["encoder/conv1/weight"].shape[1]
    whole: dict[str, Any] = {**CONTEXT, "num_mel_bins": bands, **sided, **special, **sizes}
    config = WhisperConfig(vocab_size=words, d_model=width, **whole)
    model = WhisperForConditionalGeneration(config)
    missing = model.load_state_dict(_state(weights, depths), strict=False)
    wrong = [*missing.missing_keys, *missing.unexpected_keys]
    if wrong:
        raise ValueError(f"weights do not fit Whisper: {', '.join(wrong[:3])}")
    return model


def _depth(weights: dict[str, Tensor], side: str) -> int:
    """How many layers a side has."""
    return len({name.split("/")[1] for name in weights if name.startswith(f"{side}/layer_") and name.count("/") > 2})


def _state(weights: dict[str, Tensor], depths: dict[str, int]) -> dict[str, Tensor]:
    """transformers' names for the file's tensors, in float32."""
    state: dict[str, Tensor] = {}
    for side, depth in depths.items():
        state[f"model.{side}.embed_positions.weight"] = weights[f"{side}/position_encodings/encodings"]
        state |= _norm(weights, f"{side}/layer_norm", f"model.{side}.layer_norm")
        for number in range(depth):
            state |= _layer(weights, f"{side}/layer_{number}", f"model.{side}.layers.{number}")
    for name in ("conv1", "conv2"):
        state |= _linear(weights, f"encoder/{name}", f"model.encoder.{name}")
    state["model.decoder.embed_tokens.weight"] = state["proj_out.weight"] = weights["decoder/embeddings/weight"]
    return {name: value.float() for name, value in state.items()}


def _layer(weights: dict[str, Tensor], source: str, target: str) -> dict[str, Tensor]:
    own = {"q_proj": 0, "k_proj": 1, "v_proj": 2}
    state = _projections(weights, f"{source}/self_attention/linear_0", f"{target}.self_attn", own)
    for name, renamed in NORMS.items():
        state |= _norm(weights, f"{source}/{name}", f"{target}.{renamed}")
    for name, renamed in LINEAR.items():
        state |= _linear(weights, f"{source}/{name}", f"{target}.{renamed}")
    if f"{source}/attention/layer_norm/gamma" in weights:  # the decoder attends to the encoder, too
        crossed = f"{target}.encoder_attn"
        state |= _norm(weights, f"{source}/attention/layer_norm", f"{target}.encoder_attn_layer_norm")
        state |= _linear(weights, f"{source}/attention/linear_0", f"{crossed}.q_proj")
        state |= _projections(weights, f"{source}/attention/linear_1", crossed, {"k_proj": 0, "v_proj": 1})
        state |= _linear(weights, f"{source}/attention/linear_2", f"{crossed}.out_proj")
    return state


def _projections(weights: dict[str, Tensor], source: str, target: str, places: dict[str, int]) -> dict[str, Tensor]:
    """Several matrices out of the one that holds them one below the other."""
    parts = {kind: weights[f"{source}/{kind}"].chunk(len(places)) for kind in ("weight", "bias")}
    wanted = [(name, kind) for name in places for kind in parts if (name, kind) != ("k_proj", "bias")]
    return {f"{target}.{name}.{kind}": parts[kind][places[name]].contiguous() for name, kind in wanted}


def _linear(weights: dict[str, Tensor], source: str, target: str) -> dict[str, Tensor]:
    return {f"{target}.{kind}": weights[f"{source}/{kind}"] for kind in ("weight", "bias")}


def _norm(weights: dict[str, Tensor], source: str, target: str) -> dict[str, Tensor]:
    return {f"{target}.{new}": weights[f"{source}/{old}"] for old, new in (("gamma", "weight"), ("beta", "bias"))}


def _write_tokenizer(source: Path, folder: Path) -> tuple[int, int]:
    """Write the tokenizer; returns which of its tokens begin and end a transcript."""
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(source), bos_token=END, eos_token=END, pad_token=END)
    tokenizer.save_pretrained(folder)
    start, end = tokenizer.convert_tokens_to_ids([START, END])  # type: ignore[misc]
    return start, end
