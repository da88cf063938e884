"""Saving: a folder that PEFT loads as PROMPT_TUNING, with cuetune's own record and a card for readers beside it."""

import hashlib
import json
from pathlib import Path
from typing import Any

from safetensors.torch import save as to_bytes
from torch import Tensor

from cuetune.errors import CuetuneError
from cuetune.files import atomic_folder
from cuetune.library.card import card
from cuetune.library.tuned import TunedPrompt

FORMAT = 1
WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
RECORD = "cuetune.json"
CARD = "README.md"
PEFT_VERSION = "0.21.2"  # the version whose format this is; tested against it


def save(tuned: TunedPrompt, folder: Path, *, overwrite: bool = False) -> Path:
    """Write `tuned` to `folder`. An older prompt there is replaced only by a whole new one, and only with overwrite.

    Raises CuetuneError when the folder holds something that is not a saved prompt, or the disk refuses.
    """
    if folder.exists() and overwrite and any(folder.iterdir()) and not (folder / CONFIG).exists():
        raise CuetuneError(f"{folder}: is not a saved prompt, so it is not overwritten; choose another folder.")
    tensors = {"prompt_embeddings": embeddings(tuned)}
    weights = to_bytes(tensors, {"format": "pt"})
    with atomic_folder(folder, overwrite=overwrite) as new:
        (new / WEIGHTS).write_bytes(weights)
        _write_json(new / CONFIG, peft_config(tuned, tensors["prompt_embeddings"]))
        _write_json(
            new / RECORD,
            {
                "format": FORMAT,
                "kind": tuned.prompt.kind,
                "spec": tuned.prompt.spec(),
                "task": tuned.task.to_dict(),
                "backbone": tuned.backbone.to_dict(),
                "record": tuned.record,
                "weights_sha256": hashlib.sha256(weights).hexdigest(),
            },
        )
        (new / CARD).write_text(card(tuned, folder.name), encoding="utf-8")
    return folder


def embeddings(tuned: TunedPrompt) -> Tensor:
    """What a prompt puts at the embedding layer, (P, d) in float32: the tensor that PEFT knows."""
    injection = tuned.prompt.injection()
    if set(injection.tokens) != {0} or injection.kv or injection.per_row:
        raise CuetuneError(
            f"a {tuned.prompt.kind!r} prompt adds more than virtual tokens at the embedding layer; "
            "its saved form is not known yet."
        )
    return injection.tokens[0].detach().float().cpu().contiguous()


def peft_config(tuned: TunedPrompt, tensor: Tensor) -> dict[str, Any]:
    """`adapter_config.json` as PEFT reads it; no key that it does not know, no path of this machine."""
    backbone = tuned.backbone
    return {
        "peft_type": "PROMPT_TUNING",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": backbone.name,
        "revision": backbone.revision,
        "inference_mode": True,
        "num_virtual_tokens": tensor.shape[0],
        "token_dim": tensor.shape[1],
        "num_transformer_submodules": 1,
        "num_attention_heads": backbone.num_heads,
        "num_layers": backbone.num_layers,
        "prompt_tuning_init": "RANDOM",
        "prompt_tuning_init_text": None,
        "tokenizer_name_or_path": None,
        "tokenizer_kwargs": None,
        "peft_version": PEFT_VERSION,
    }


def _write_json(path: Path, values: dict[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
