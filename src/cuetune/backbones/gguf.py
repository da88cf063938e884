"""From a GGUF file to a transformers folder, once: weights restored from 4 bits, the tokenizer rebuilt."""

import io
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

CONTROL = 3  # GGUF's token type of special tokens


def convert(gguf: Path, folder: Path) -> None:
    """Write configuration, weights and tokenizer of `gguf` to `folder`.

    Weights are kept in float16: each restored 4-bit value is scale · q + minimum with float16 scale and minimum, so
    float16 holds it to 3 decimal digits where bfloat16 would keep 2, and the file is half of float32's.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    from cuetune.backbones.loading import quiet

    quiet()
    where: dict[str, Any] = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
    with redirect_stderr(io.StringIO()):  # a progress bar that cannot be switched off otherwise
        model = AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32)
    tied = model.config.tie_word_embeddings
    state = {
        name: value.to(torch.float16).contiguous()
        for name, value in model.state_dict().items()
        if not (tied and name == "lm_head.weight")
    }
    save_file(state, str(folder / "model.safetensors"), metadata={"format": "pt"})
    config = AutoConfig.from_pretrained(**where)
    config.dtype = torch.float16
    config.architectures = [type(model).__name__]
    config.save_pretrained(folder)
    model.generation_config.save_pretrained(folder)
    _tokenizer(gguf).save_pretrained(folder)


def _tokenizer(gguf: Path) -> Any:
    """The byte-level BPE tokenizer that a GGUF file describes, with its special tokens and chat template."""
    from gguf import GGUFReader
    from transformers import PreTrainedTokenizerFast

    fields = GGUFReader(str(gguf)).fields
    read = {
        name.removeprefix("tokenizer."): field.contents()
        for name, field in fields.items()
        if name.startswith("tokenizer.")
    }
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
        tokenizer_object=inner, chat_template=read.get("chat_template"), additional_special_tokens=special, **named
    )


def _pre_tokenizer(kind: str) -> Any:
    """How text is cut before merging; GGUF names it by the model that brought it in. SmolLM takes each digit alone."""
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    if kind in ("smollm", "refact", "starcoder", "command-r"):
        return pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), byte_level])
    if kind in ("gpt-2", "default"):
        return byte_level
    raise ValueError(f"GGUF pre-tokenizer {kind!r} is not known; add its rule to {Path(__file__).name}")
