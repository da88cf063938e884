"""From a chemistry model's package to a transformers folder, once: BERT and ALBERT trained on reaction SMILES.

The package has a configuration, a vocabulary of one token a line, and weights as torch writes them; they are read as
tensors only, so that no code in the file can run. The tokenizer, code in the package, is rebuilt from its rule.
"""

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from torch import Tensor

# Atoms in brackets, atoms without, bonds, branches, rings, and the reaction's arrow (Schwaller et al. 2019).
TOKEN = r"\[[^\]]+\]|Br?|Cl?|[NOSPFIbcnosp]|[().=#+\-\\/:~@?*$]|>>?|%[0-9]{2}|[0-9]"
ROLES = {role: f"[{role.upper()}]" for role in ("pad", "unk", "cls", "sep", "mask")}
SIZES = (
    "vocab_size",
    "embedding_size",
    "hidden_size",
    "num_hidden_layers",
    "num_hidden_groups",
    "inner_group_num",
    "num_attention_heads",
    "intermediate_size",
    "hidden_act",
    "max_position_embeddings",
    "type_vocab_size",
    "layer_norm_eps",
)


def convert(source: Path, folder: Path) -> None:
    """Write the masked language model in the folder `source`, with its tokenizer, to `folder`, in float32.

    Raises ValueError when weights are missing, or are there beyond those of the model and of BERT's second task.
    """
    from transformers import AutoModelForMaskedLM

    vocabulary = (source / "vocab.txt").read_text(encoding="utf-8").split()
    tokenizer = _tokenizer(vocabulary)
    config = _config(json.loads((source / "config.json").read_text(encoding="utf-8")), tokenizer)
    if len(vocabulary) != config.vocab_size:
        raise ValueError(f"{len(vocabulary)} tokens for {config.vocab_size} rows of embeddings")
    model = AutoModelForMaskedLM.from_config(config)
    _fill(model, torch.load(source / "pytorch_model.bin", map_location="cpu", weights_only=True))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _config(read: dict[str, Any], tokenizer: Any) -> Any:
    """The sizes that the package's configuration names. Settings of its time for writing text are left out."""
    from transformers import AutoConfig

    sizes = {name: read[name] for name in SIZES if name in read}
    special = {"pad_token_id": tokenizer.pad_token_id, "bos_token_id": None, "eos_token_id": None}
    return AutoConfig.for_model(read.get("model_type", "bert"), **sizes, **special)


def _fill(model: Any, state: dict[str, Tensor]) -> None:
    """Load the weights; what the file lacks must be tied to what it has, what it has more must be of no use here."""
    found = model.load_state_dict(state, strict=False)
    missing = set(found.missing_keys) - set(model.all_tied_weights_keys)
    left_over = [name for name in found.unexpected_keys if "pooler" not in name and "seq_relationship" not in name]
    if missing or left_over:
        raise ValueError(f"weights do not fit {type(model).__name__}: {', '.join([*sorted(missing), *left_over][:3])}")
    model.tie_weights()


def _tokenizer(vocabulary: list[str]) -> Any:
    """`[CLS] tokens [SEP]`; a SMILES string is cut by `TOKEN`, spaces fall out, and what fits nothing is `[UNK]`."""
    from transformers import PreTrainedTokenizerFast

    numbers = {token: number for number, token in enumerate(vocabulary)}
    inner = Tokenizer(models.WordLevel(numbers, unk_token=ROLES["unk"]))
    inner.normalizer = normalizers.Replace(Regex(r"\s+"), "")
    inner.pre_tokenizer = pre_tokenizers.Split(Regex(TOKEN), behavior="isolated")
    inner.decoder = decoders.Fuse()
    inner.add_special_tokens(list(ROLES.values()))
    around = [(ROLES[role], numbers[ROLES[role]]) for role in ("cls", "sep")]
    inner.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=around
    )
    named = {f"{role}_token": token for role, token in ROLES.items()}
    return PreTrainedTokenizerFast(tokenizer_object=inner, model_max_length=512, **named)
