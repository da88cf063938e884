"""Which frozen model a prompt belongs to: recorded with the prompt and checked before it is used."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from cuetune.errors import CuetuneError


@dataclass(frozen=True)
class BackboneIdentity:
    """Name and revision as the user gave them, hashes of what was loaded, and the sizes that PEFT's format wants.

    hidden_size: of an embedding row. state_size: of the states above it, where they have another size, else 0.
    kind: of the backbone (`Backbone.kind`). path: how prompts enter it, "fast" or "plain" (`TextBackbone.path`).
    tokenizer_hash: of whatever turns rows into the model's input. weights_hash: of the weights as they are stored,
    whatever precision they run in. also: hashes of the same weights that earlier versions recorded; they are not kept.
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
    path: str = "fast"
    also: tuple[str, ...] = field(default=(), compare=False, repr=False)

    def width_at(self, layer: int) -> int:
        """The size of a virtual token that enters at this layer."""
        return self.state_size or self.hidden_size if layer else self.hidden_size

    @property
    def prepared_by(self) -> str:
        """What turns rows into the model's input, for people."""
        return "tokenizer" if self.kind in ("causal", "encoder", "encoder-decoder") else "preprocessing"

    def to_dict(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if name != "also"}

    def has_weights(self, recorded: str) -> bool:
        """Whether a hash that was recorded is one of these weights."""
        return recorded == self.weights_hash or recorded in self.also

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
        for what, mine, theirs, same in (
            ("weights", self.weights_hash, other.weights_hash, other.has_weights(self.weights_hash)),
            (
                self.prepared_by,
                self.tokenizer_hash,
                other.tokenizer_hash,
                self.tokenizer_hash == other.tokenizer_hash,
            ),
        ):
            if mine and not same:
                raise CuetuneError(
                    f"{where}: made for {self.name} ({what} {mine[:12]}), but {other.name} is loaded "
                    f"({what} {theirs[:12]}); load the model it was made for, or tune again."
                )


def weights_hash(
    tensors: Mapping[str, Tensor], sample: int = 4096, through: Callable[[str, Tensor], Tensor] | None = None
) -> str:
    """SHA-256 over names, shapes and an even sample of every tensor's values, rounded to bfloat16.

    A sample of each tensor keeps this in milliseconds for any size, and tells apart models, revisions and fine-tuned
    copies. Stored values give the same hash when they are loaded in float32 or bfloat16, but not in float16, which
    rounds them in another way (see `loading`). through: what was done to the values of a name before.
    """
    digest = hashlib.sha256()
    for name in sorted(tensors):
        values = tensors[name].detach()
        digest.update(f"{name}{tuple(values.shape)}".encode())
        flat = values.reshape(-1)
        picked = flat[:: max(1, flat.numel() // sample)][:sample]
        picked = picked if through is None else through(name, picked)
        digest.update(picked.to(torch.bfloat16).view(torch.int16).cpu().numpy().tobytes())
    return digest.hexdigest()


def hash_in_float16(tensors: Mapping[str, Tensor], kept: Sequence[str] = ()) -> str:
    """What earlier versions recorded of the same weights when they ran in float16. kept: parts that stayed float32."""

    def rounded(name: str, values: Tensor) -> Tensor:
        stays = not values.is_floating_point() or any(part in name.split(".") for part in kept)
        return values if stays else values.to(torch.float16)

    return weights_hash(tensors, through=rounded)


def tokenizer_hash(tokenizer: Any) -> str:
    """SHA-256 of what decides which ids a text becomes: the serialised fast tokenizer, or else the vocabulary."""
    inner = getattr(tokenizer, "backend_tokenizer", None)
    if inner is None:
        text = repr(sorted(tokenizer.get_vocab().items()))
    else:  # truncation and padding are how it was last called, not what it is
        kept = {key: part for key, part in json.loads(inner.to_str()).items() if key not in ("truncation", "padding")}
        text = json.dumps(kept, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
