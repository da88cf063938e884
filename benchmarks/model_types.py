"""Which path every text model type of the installed transformers takes: fast, plain, or refused with the reason.

    python benchmarks/model_types.py            # every type, and the table in docs/models.md
    python benchmarks/model_types.py gpt2 bert  # these types only, printed

A type is built tiny, with random weights, from its own configuration class. Its backbone is then held against a fresh
copy of the same weights with the model's own (eager) attention: rows of 5, 20 and 40 tokens, longer than its window,
without a prompt, behind a soft prompt, and behind the same prompt compiled with shared text. The largest difference is
relative to the largest logit. "beside" is the largest difference between a row in the batch and the row alone.
"""

import copy
import json
import signal
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, AutoModelForMaskedLM, PreTrainedTokenizerFast
from transformers.models.auto import modeling_auto

from cuetune.backbones.batches import TokenBatch
from cuetune.backbones.encoder import EncoderBackbone
from cuetune.backbones.injection import Injection
from cuetune.backbones.loading import open_model
from cuetune.backbones.text import TextBackbone
from cuetune.errors import CuetuneError

DOCS = Path(__file__).parent.parent / "docs" / "models.md"
RESULT = Path(__file__).parent / "results" / "model-types.json"
BEGIN, END = "<!-- model types: begin -->", "<!-- model types: end -->"
VOCABULARY, SECONDS, MOST = 120, 60, 1e8
RATES = ("A_log", "dt_proj", "x_proj")  # of recurrences: their exponents make rounding large, and nothing else
WRONG = 1e-4  # a larger difference is no rounding

# Sizes that a configuration gets where it has them; what a family needs beside them stands in `OWN`.
SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 256,
    "sliding_window": 8,
    "attention_chunk_size": 8,
    "eos_token_id": 0,
    "bos_token_id": 1,
    "pad_token_id": 2,
}
EXPERTS: dict[str, Any] = {
    "num_experts": 4,
    "num_local_experts": 4,
    "n_routed_experts": 4,
    "moe_num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 32,
    "shared_expert_intermediate_size": 32,
    "moe_shared_expert_intermediate_size": 32,
    "n_group": 1,
    "topk_group": 1,
}
LATENT: dict[str, Any] = {
    "q_lora_rank": 16,
    "kv_lora_rank": 16,
    "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 8,
    "v_head_dim": 8,
    "num_key_value_heads": 4,
}
STACKS: dict[str, Any] = {
    "d_model": 32,
    "encoder_layers": 4,
    "decoder_layers": 4,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
}
# What a family needs beside its sizes. None: it is left as the family has it.
OWN: dict[str, dict[str, Any]] = {
    "codegen": {"rotary_dim": 4},
    "bamba": {"attn_layer_indices": [1, 3], "mamba_n_heads": 8, "mamba_d_head": 8, "mamba_n_groups": 1},
    "gptj": {"rotary_dim": 4},
    "gpt_neo": {"attention_types": [[["global", "local"], 2]], "window_size": 8},
    "falcon": {"head_dim": None},
    "reformer": {
        "axial_pos_embds": False,
        "is_decoder": True,
        "attention_head_size": 8,
        "attn_layers": ["local", "lsh"] * 2,
    },
    "mamba2": {"num_heads": 8, "head_dim": 8, "expand": 2, "state_size": 16, "n_groups": 2},
    "plbart": {"num_attention_heads": 4},
    "falcon_h1": {"mamba_d_ssm": 64, "mamba_n_heads": 8, "mamba_d_head": 8, "mamba_n_groups": 1, "mamba_d_state": 16},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1, "mamba_d_state": 8, "mamba_dt_rank": 4},
    "granitemoehybrid": {
        "layer_types": ["mamba", "attention"] * 2,
        "mamba_n_heads": 8,
        "mamba_d_head": 8,
        "mamba_n_groups": 1,
        "shared_intermediate_size": 32,
    },
    "lfm2_moe": {"layer_types": ["conv", "full_attention"] * 2},
    "xlnet": {"d_model": 32, "n_layer": 4, "n_head": 4, "d_inner": 64},
    "longformer": {"attention_window": 8, "max_position_embeddings": 300, "pad_token_id": 1, "bos_token_id": 2},
    "mobilebert": {"embedding_size": 32, "intra_bottleneck_size": 16, "true_hidden_size": 16},
    "squeezebert": {"embedding_size": 32},
    "funnel": {
        "block_sizes": [2, 2],
        "d_model": 32,
        "n_head": 4,
        "d_head": 8,
        "d_inner": 64,
        "num_hidden_layers": None,
    },
    "prophetnet": {"num_encoder_layers": 2, "num_decoder_layers": 2, "num_hidden_layers": None},
    "gemma3n_text": {
        "layer_types": ["sliding_attention", "full_attention"] * 2,
        "num_kv_shared_layers": 0,
        "laurel_rank": 8,
        "hidden_size_per_layer_input": 8,
        "vocab_size_per_layer_input": VOCABULARY,
        "activation_sparsity_pattern": [0.0] * 4,
    },
    "gemma4_text": {
        "hidden_size_per_layer_input": 8,
        "vocab_size_per_layer_input": VOCABULARY,
        "head_dim": 8,
        "global_head_dim": 8,
    },
    "gemma4_unified_text": {"head_dim": 8, "global_head_dim": 8},
    "kimi_linear": {"layer_types": ["linear_attention", "full_attention"] * 2},
    "qwen4_exp_text": {"layer_types": ["linear_attention", "full_attention"] * 2},
    "cohere_compass_text": {"layer_types": ["sliding_attention", "full_attention"] * 2},
    "bailing_hybrid": {"layer_types": ["linear_attention", "full_attention"] * 2},
    "dots1": {"n_shared_experts": 1},
}


@dataclass
class Found:
    """What was found of one type. path: fast, plain, refused, or not built; reason: why it is not fast."""

    type: str
    kind: str
    path: str
    reason: str = ""
    difference: float | None = None
    beside: float | None = None


def types(kind: str) -> list[str]:
    """All model types of transformers that are causal models, or masked ones."""
    names = "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES" if kind == "causal" else "MODEL_FOR_MASKED_LM_MAPPING_NAMES"
    return sorted(getattr(modeling_auto, names))


def tokenizer() -> PreTrainedTokenizerFast:
    """Whole words as tokens: w0, w1, …"""
    inner = Tokenizer(models.WordLevel({f"w{number}": number for number in range(VOCABULARY)}, unk_token="w3"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="w3", eos_token="w0", pad_token="w2")


def configuration(name: str) -> Any:
    """The tiny configuration of a type: of all sizes, those that it has and takes, in its part that reads texts too."""
    made = CONFIG_MAPPING[name]
    has = made()
    text = getattr(has, "text_config", None)
    if text is None:
        return made(**_sizes(has))
    inner = {"model_type": text.model_type, **_sizes(text)}
    return made(text_config=inner)


def _sizes(has: Any) -> dict[str, Any]:
    wanted = {**SIZES, **EXPERTS}
    if _holds(has, "kv_lora_rank"):
        wanted = {**wanted, **LATENT, "head_dim": 8}
    if _holds(has, "decoder_layers"):
        wanted = {**wanted, **STACKS}
    given = {key: value for key, value in wanted.items() if _holds(has, key)}
    if _holds(has, "sliding_window") and has.sliding_window is None:
        given.pop("sliding_window", None)
    own = OWN.get(has.model_type, {})
    return {key: value for key, value in {**given, **own}.items() if value is not None}


def _holds(config: Any, name: str) -> bool:
    """Whether a configuration has one number of this name; some have one for each layer."""
    try:
        return hasattr(config, name)
    except Exception:
        return False


def tiny(name: str, kind: str) -> Any:
    """A tiny random model of a type, with weights large enough for its parts to show in the logits."""
    torch.manual_seed(0)
    auto = AutoModelForCausalLM if kind == "causal" else AutoModelForMaskedLM
    config = configuration(name)
    if kind == "causal" and getattr(config, "is_decoder", None) is False:
        config.is_decoder = True
    with torch.device("meta"):
        size = sum(parameter.numel() for parameter in auto.from_config(copy.deepcopy(config)).parameters())
    if size > MOST:
        raise ValueError(f"{size / 1e6:,.0f} million parameters, too large to be tiny")
    model = auto.from_config(config, attn_implementation="eager").eval()
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if "sink" in key:
                parameter.normal_(1, 1)
            elif parameter.dim() >= 2 and not any(name in key for name in RATES):
                parameter.mul_(2)
    return model


def rows() -> list[list[int]]:
    draw = torch.Generator().manual_seed(1)
    return [torch.randint(10, VOCABULARY, (length,), generator=draw).tolist() for length in (5, 20, 40)]


def alone(stock: Any, embedded: Tensor, ids: Sequence[int]) -> Tensor:
    """Logits (T, V), or states of a model without a head, of one row of embeddings, by plain transformers.

    ids: the tokens at its end. Where layers look tokens up by their ids, what stands before them counts as padding.
    """
    part = stock.get_decoder() if hasattr(stock, "get_decoder") else None
    more: dict[str, Tensor] = {}
    if hasattr(part, "get_per_layer_inputs") and getattr(part.config, "hidden_size_per_layer_input", 0):
        padding = [part.config.pad_token_id] * (len(embedded) - len(ids))
        more = {"per_layer_inputs": part.get_per_layer_inputs(torch.tensor([padding + list(ids)]))}
    output = stock(inputs_embeds=embedded[None], **more)
    return (output.logits if hasattr(output, "logits") else output.last_hidden_state)[0].float()


def compare(backbone: TextBackbone, stock: Any) -> tuple[float, float]:
    """The largest relative difference from plain transformers, and between a row in a batch and the row alone."""
    table, each = stock.get_input_embeddings(), rows()
    prompt, shared = table(torch.tensor([20, 30, 40, 50])), [60, 61]
    prompt = prompt + 0.1 * torch.randn(prompt.shape, generator=torch.Generator().manual_seed(2))  # of no token
    plain, soft = Injection(), Injection(tokens={0: prompt})
    compiled = backbone.compile(soft, shared)
    read_again = [] if backbone.causal else shared
    cases = [(plain, [], []), (soft, shared, shared), (compiled, read_again, shared)]
    worst = beside = 0.0
    for injection, given, text in cases:
        whole = [table(torch.tensor(text + row)) for row in each]
        if injection is not plain:
            whole = [torch.cat([prompt, row]) for row in whole]
        wanted = [alone(stock, states, text + row)[-len(row) :] for states, row in zip(whole, each, strict=True)]
        ours = _logits(backbone, each, injection, given)
        single = [_logits(backbone, [row], injection, given)[0] for row in each]
        for mine, one, theirs in zip(ours, single, wanted, strict=True):
            scale = float(theirs.abs().max())
            worst = max(worst, float((mine - theirs).abs().max()) / scale)
            beside = max(beside, float((mine - one).abs().max()) / scale)
    return worst, beside


def _logits(backbone: TextBackbone, each: Sequence[Sequence[int]], injection: Injection, shared: list[int]) -> Any:
    given = each if backbone.causal else [[*shared, *row] for row in each]
    states = backbone.hidden(TokenBatch.of(given, shared if backbone.causal else []), injection)
    return [
        logits[-len(row) :]
        for logits, row in zip(backbone.logits(states).split([len(row) for row in given]), each, strict=True)
    ]


class _SlowError(Exception):
    pass


@contextmanager
def limited(seconds: int) -> Iterator[None]:
    def stop(*_: Any) -> None:
        raise _SlowError(f"takes longer than {seconds} s")

    signal.signal(signal.SIGPROF, stop)  # of processor time, so that a busy machine finds the same
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def examine(name: str, kind: str) -> Found:
    """Build one type, open it, and compare."""
    try:
        with limited(SECONDS), torch.no_grad():
            model = tiny(name, kind)
            stock = copy.deepcopy(model)
            alone(stock, stock.get_input_embeddings()(torch.arange(10, 15)), range(10, 15))
    except Exception as error:
        print(f"{name}: {_line(error)}", file=sys.stderr)
        return Found(name, kind, "not built")
    try:
        with limited(SECONDS), torch.no_grad():
            backbone = open_model(TextBackbone if kind == "causal" else EncoderBackbone, model, tokenizer(), name, None)
            difference, beside = compare(backbone, stock)
    except CuetuneError as refusal:
        return Found(name, kind, "refused", getattr(refusal, "reason", str(refusal)))
    except Exception as error:
        return Found(name, kind, "wrong", _line(error))
    path = backbone.path if difference < WRONG else "wrong"
    return Found(name, kind, path, backbone.path_reason, difference, beside)


def _line(error: Exception) -> str:
    first, *_ = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {first}"[:160]


def table(found: Sequence[Found]) -> str:
    """The table in docs/models.md."""
    built = [each for each in found if each.path != "not built"]
    counts = {
        kind: ", ".join(
            f"{sum(each.path == path and each.kind == kind for each in built)} {path}"
            for path in ("fast", "plain", "refused", "wrong")
        )
        for kind in ("causal", "masked")
    }
    lines = [
        f"transformers {transformers.__version__}, float32. Causal types: {counts['causal']}. "
        f"Masked-language types: {counts['masked']}.",
        "",
        "| type | reads | path | largest difference | why not fast |",
        "| --- | --- | --- | --- | --- |",
    ]
    for each in built:
        difference = "" if each.difference is None else f"{each.difference:.0e}"
        lines.append(f"| {each.type} | {each.kind} | {each.path} | {difference} | {each.reason.replace('|', ' ')} |")
    left = ", ".join(f"{each.type} ({each.kind})" for each in found if each.path == "not built")
    return "\n".join([*lines, "", f"Not built tiny by the script, so not in the table: {left}.", ""])


def write(found: Sequence[Found]) -> None:
    """Keep what was found, and put the table between its marks in the docs."""
    RESULT.write_text(json.dumps([asdict(each) for each in found], indent=1) + "\n")
    before, _, rest = DOCS.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    DOCS.write_text(f"{before}{BEGIN}\n\n{table(found)}\n{END}{after}")


def prepare() -> None:
    """Quiet, and the same numbers on every machine that has the same kernels."""
    warnings.filterwarnings("ignore")
    transformers.logging.set_verbosity(transformers.logging.CRITICAL)
    torch.set_num_threads(1)


def main(names: Sequence[str]) -> None:
    prepare()
    found = []
    for kind in ("causal", "masked"):
        for name in types(kind):
            if not names or name in names:
                found.append(examine(name, kind))
                each = found[-1]
                print(each.kind, each.type, each.path, each.difference, each.beside, each.reason, flush=True)
    if not names:
        write(found)


if __name__ == "__main__":
    main(sys.argv[1:])
