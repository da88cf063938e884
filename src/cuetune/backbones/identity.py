"""Which frozen model a prompt belongs to: recorded with the prompt and checked before it is used."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from cuetune.errors import CuetuneError


@dataclass(frozen=True)
class BackboneIdentity:
    """Name and revision as the user gave them, hashes of what was loaded, and the sizes that PEFT's format wants.

    hidden_size: of an embedding row. state_size: of the states above it, where they have another size, else 0.
    kind: of the backbone (`Backbone.kind`). tokenizer_hash: of whatever turns rows into the model's input.
    """

    name: str
    revision: str | None
    weights_hash: str
    tokenizer_hash: str
    model_type: str
    hidden_size: int
    num_layers: int
    num_heads: int
    state_size: int = 0
    kind: str = "causal"

    def width_at(self, layer: int) -> int:
        """The size of a virtual token that enters at this layer."""
        return self.state_size or self.hidden_size if layer else self.hidden_size

    @property
    def prepared_by(self) -> str:
        """What turns rows into the model's input, for people."""
        return "tokenizer" if self.kind in ("causal", "encoder", "encoder-decoder") else "preprocessing"

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "BackboneIdentity":
        return cls(**values)

    def check(self, other: "BackboneIdentity", where: str) -> None:
        """Raise CuetuneError unless a prompt found for `self` fits the loaded backbone `other`."""
        if self.hidden_size and self.hidden_size != other.hidden_size:
            raise CuetuneError(
                f"{where}: made for {self.name} of width {self.hidden_size}, but {other.name} has width "
                f"{other.hidden_size}; load it with --model {self.name}."
            )
        for what, mine, theirs in (
            ("weights", self.weights_hash, other.weights_hash),
            (self.prepared_by, self.tokenizer_hash, other.tokenizer_hash),
        ):
            if mine and mine != theirs:
                raise CuetuneError(
                    f"{where}: made for {self.name} ({what} {mine[:12]}), but {other.name} is loaded "
                    f"({what} {theirs[:12]}); load the model it was made for, or tune again."
                )


def weights_hash(tensors: Mapping[str, Tensor], sample: int = 4096) -> str:
    """SHA-256 over names, shapes and an even sample of every tensor's float32 values.

    A sample of each tensor keeps this in milliseconds for any size, and tells apart models, revisions and fine-tuned
    copies; float32 of rounded bfloat16 makes it independent of the dtype that the weights were loaded in.
    """
    digest = hashlib.sha256()
    for name in sorted(tensors):
        values = tensors[name].detach()
        digest.update(f"{name}{tuple(values.shape)}".encode())
        flat = values.reshape(-1)
        picked = flat[:: max(1, flat.numel() // sample)][:sample]
        digest.update(picked.to(torch.bfloat16).view(torch.int16).cpu().numpy().tobytes())
    return digest.hexdigest()


def tokenizer_hash(tokenizer: Any) -> str:
    """SHA-256 of what decides which ids a text becomes: the serialised fast tokenizer, or else the vocabulary."""
    inner = getattr(tokenizer, "backend_tokenizer", None)
    if inner is None:
        text = repr(sorted(tokenizer.get_vocab().items()))
    else:  # truncation and padding are how it was last called, not what it is
        kept = {key: part for key, part in json.loads(inner.to_str()).items() if key not in ("truncation", "padding")}
        text = json.dumps(kept, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
