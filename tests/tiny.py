"""Tiny random models with a byte-level tokenizer: every test of mathematics runs on these, without a download."""

import atexit
import csv
import random
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    PreTrainedTokenizerFast,
)

from cuetune.backbones.text import TextBackbone

FAMILIES = ("gpt2", "llama", "gpt_neox", "gemma3", "mistral", "opt")
WIDTH, LAYERS = 32, 3


def tokenizer() -> PreTrainedTokenizerFast:
    """Bytes as tokens, a few merges for words the tests use, `<eos>` and `<pad>`."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate(["<pad>", "<eos>", *alphabet])}
    merges = []
    for word in ("good", "bad", "great", "awful", "Ġgood", "Ġbad", "Ġpos", "Ġneg"):
        for end in range(2, len(word) + 1):
            merges.append((word[: end - 1], word[end - 1]))
            vocabulary.setdefault(word[:end], len(vocabulary))
    merges = list(dict.fromkeys(merges))
    inner = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<eos>", pad_token="<pad>")


def model(family: str, seed: int = 0) -> Any:
    """A random model whose logits differ clearly from token to token."""
    torch.manual_seed(seed)
    size = len(tokenizer())
    common: dict[str, Any] = {
        "vocab_size": size,
        "initializer_range": 0.3,
        "bos_token_id": 1,
        "eos_token_id": 1,
        "pad_token_id": 0,
    }
    llama = {
        "hidden_size": WIDTH,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "intermediate_size": 64,
        "max_position_embeddings": 512,
    }
    made = {
        "gpt2": lambda: GPT2LMHeadModel(GPT2Config(n_embd=WIDTH, n_layer=LAYERS, n_head=4, n_positions=512, **common)),
        "llama": lambda: LlamaForCausalLM(LlamaConfig(**llama, **common)),
        "gpt_neox": lambda: GPTNeoXForCausalLM(
            GPTNeoXConfig(
                hidden_size=WIDTH,
                num_hidden_layers=LAYERS,
                num_attention_heads=4,
                intermediate_size=64,
                max_position_embeddings=512,
                **common,
            )
        ),
        "gemma3": lambda: Gemma3ForCausalLM(
            Gemma3TextConfig(**{**llama, "num_hidden_layers": 7}, head_dim=8, sliding_window=6, **common)
        ),
        "mistral": lambda: MistralForCausalLM(MistralConfig(sliding_window=7, **llama, **common)),
        "opt": lambda: OPTForCausalLM(
            OPTConfig(
                hidden_size=WIDTH,
                num_hidden_layers=LAYERS,
                num_attention_heads=4,
                ffn_dim=64,
                word_embed_proj_dim=WIDTH,
                max_position_embeddings=512,
                init_std=0.3,
                **{k: v for k, v in common.items() if k != "initializer_range"},
            )
        ),
    }
    return made[family]().eval()


@cache
def backbone(family: str = "llama") -> TextBackbone:
    """The wrapped tiny model; shared by tests, which must not change it."""
    return TextBackbone(model(family), tokenizer(), f"tiny-{family}")


def stock_logits(bare: Any, embeddings: torch.Tensor) -> torch.Tensor:
    """(n, V) logits of the unwrapped model for one sequence of embeddings (n, d): the oracle of the exactness tests."""
    return bare(inputs_embeds=embeddings[None], use_cache=False).logits[0]


@cache
def folder(family: str = "llama") -> Path:
    """A tiny model saved as a user would have it on disk, for tests through the public loading path."""
    path = Path(tempfile.mkdtemp(prefix="tiny-")) / f"tiny-{family}"
    model(family).save_pretrained(path)
    tokenizer().save_pretrained(path)
    atexit.register(shutil.rmtree, path.parent, ignore_errors=True)
    return path


def rows(n: int, seed: int = 0) -> list[dict[str, str]]:
    """Labelled rows that a tiny model can learn: the words of one label or of the other, in random company."""
    draw = random.Random(seed)
    made = []
    for number in range(n):
        label = ("pos", "neg")[number % 2]
        said = ["good", "great"] if label == "pos" else ["bad", "awful"]
        noise = ["".join(draw.choices("xyzuvw", k=draw.randint(1, 4))) for _ in range(draw.randint(1, 5))]
        made.append({"text": " ".join([*noise, draw.choice(said), str(number)]), "label": label})
    return made


def write_csv(path: Path, table: list[dict[str, str]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(table[0]))
        writer.writeheader()
        writer.writerows(table)
    return path
