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
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import (
    AlbertConfig,
    AlbertForMaskedLM,
    BartConfig,
    BartForConditionalGeneration,
    BertConfig,
    BertForMaskedLM,
    BertModel,
    DistilBertConfig,
    DistilBertForMaskedLM,
    ElectraConfig,
    ElectraForMaskedLM,
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
    ModernBertConfig,
    ModernBertForMaskedLM,
    OPTConfig,
    OPTForCausalLM,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForMaskedLM,
    T5Config,
    T5ForConditionalGeneration,
)

from cuetune.backbones.encoder import EncoderBackbone
from cuetune.backbones.encoder_decoder import EncoderDecoderBackbone
from cuetune.backbones.text import TextBackbone

FAMILIES = ("gpt2", "llama", "gpt_neox", "gemma3", "mistral", "opt")
ENCODER_DECODERS = ("t5", "flan-t5", "bart")
ENCODERS = ("bert", "roberta", "albert", "distilbert", "electra", "modernbert", "sentence")
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


def masked_tokenizer() -> PreTrainedTokenizerFast:
    """The same with `<cls>` before and `<sep>` behind every text, and a `<mask>`."""
    plain = tokenizer()
    plain.add_special_tokens({"cls_token": "<cls>", "sep_token": "<sep>", "mask_token": "<mask>"})
    around = [("<cls>", plain.cls_token_id), ("<sep>", plain.sep_token_id)]
    plain.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<cls> $A <sep>", special_tokens=around
    )
    return plain


def encoder(family: str, seed: int = 0) -> Any:
    """A random masked language model, or ("sentence") an encoder without a head."""
    torch.manual_seed(seed)
    common: dict[str, Any] = {"vocab_size": len(masked_tokenizer()), "initializer_range": 0.3, "pad_token_id": 0}
    size: dict[str, Any] = {
        "hidden_size": WIDTH,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "max_position_embeddings": 128,
    }
    narrow = {**size, "embedding_size": 16}
    dim = {"dim": WIDTH, "n_layers": LAYERS, "n_heads": 4, "hidden_dim": 64, "max_position_embeddings": 128}
    modern = {**size, "local_attention": 8, "bos_token_id": 1, "eos_token_id": 1, "cls_token_id": 1, "sep_token_id": 1}
    made = {
        "bert": lambda: BertForMaskedLM(BertConfig(**size, **common)),
        "roberta": lambda: RobertaForMaskedLM(RobertaConfig(**size, **{**common, "pad_token_id": 1})),
        "albert": lambda: AlbertForMaskedLM(AlbertConfig(**narrow, **common)),
        "distilbert": lambda: DistilBertForMaskedLM(DistilBertConfig(**dim, **common)),
        "electra": lambda: ElectraForMaskedLM(ElectraConfig(**narrow, **common)),
        "modernbert": lambda: ModernBertForMaskedLM(ModernBertConfig(**modern, **common)),
        "sentence": lambda: BertModel(BertConfig(**size, **common)),
    }
    made_model = made[family]().eval()
    for parameter in made_model.parameters():  # biases and norms are not at their neutral start
        if parameter.dim() == 1:
            parameter.data += 0.1 * torch.randn(parameter.shape)
    return made_model


@cache
def encoder_backbone(family: str = "bert") -> EncoderBackbone:
    """The wrapped tiny encoder; shared by tests, which must not change it."""
    return EncoderBackbone(encoder(family), masked_tokenizer(), f"tiny-{family}")


def ending_tokenizer() -> PreTrainedTokenizerFast:
    """T5's way: nothing before a text, `<eos>` behind it."""
    plain = tokenizer()
    plain.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="$A <eos>", special_tokens=[("<eos>", plain.eos_token_id)]
    )
    return plain


def tokenizer_of(family: str) -> PreTrainedTokenizerFast:
    """The tokenizer that goes with an encoder-decoder model; BART's texts and answers begin with `<cls>`."""
    return masked_tokenizer() if family == "bart" else ending_tokenizer()


def encoder_decoder(family: str, seed: int = 0) -> Any:
    """A random T5 (of the first kind, or as in Flan), or BART."""
    torch.manual_seed(seed)
    size = {"d_model": WIDTH, "vocab_size": len(tokenizer_of(family)), "pad_token_id": 0, "eos_token_id": 1}
    t5 = {"d_kv": 8, "d_ff": 64, "num_layers": LAYERS, "num_decoder_layers": 2, "num_heads": 4}
    buckets = {"relative_attention_num_buckets": 8, "relative_attention_max_distance": 16}
    later = {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}
    bart: dict[str, Any] = {f"{side}_{what}": 4 for side in ("encoder", "decoder") for what in ("attention_heads",)}
    bart |= {"encoder_layers": LAYERS, "decoder_layers": 2, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64}
    bart |= {"max_position_embeddings": 128, "init_std": 0.3, "scale_embedding": True, "forced_eos_token_id": None}
    made = {
        "t5": lambda: T5ForConditionalGeneration(T5Config(**size, **t5, **buckets, decoder_start_token_id=0)),
        "flan-t5": lambda: T5ForConditionalGeneration(
            T5Config(**size, **t5, **buckets, **later, decoder_start_token_id=0)
        ),
        "bart": lambda: BartForConditionalGeneration(BartConfig(**size, **bart, decoder_start_token_id=1)),
    }
    made_model = made[family]().eval()
    for name, parameter in made_model.named_parameters():
        if "relative_attention_bias" in name:
            parameter.data = torch.randn(parameter.shape)
        elif parameter.dim() == 1:
            parameter.data += 0.1 * torch.randn(parameter.shape)
    if family == "bart":
        made_model.final_logits_bias = torch.randn(1, size["vocab_size"])
    return made_model


@cache
def encoder_decoder_backbone(family: str = "t5") -> EncoderDecoderBackbone:
    """The wrapped tiny model; shared by tests, which must not change it."""
    return EncoderDecoderBackbone(encoder_decoder(family), tokenizer_of(family), f"tiny-{family}")


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
