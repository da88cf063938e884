"""What frozen encoders of images, videos and audio files have in common."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from cuetune.backbones.base import Backbone
from cuetune.backbones.batches import Batch
from cuetune.backbones.identity import BackboneIdentity, hash_in_float16, weights_hash
from cuetune.backbones.injection import Injection
from cuetune.errors import CuetuneError

POOLINGS = ("first", "mean")  # what is read of a row: the model's own first state, or the mean over the row's


AnyBackbone = TypeVar("AnyBackbone", bound="Backbone[Any]")


def with_stored_hash(load: Callable[[Any], AnyBackbone], dtype: Any) -> AnyBackbone:
    """A backbone in this dtype, known by its weights as they are stored: float16 rounds in another way than their hash,
    so that they are read once more.
    """
    backbone = load(dtype)
    if dtype == torch.float16:
        rounded = backbone.identity
        stored = load(torch.bfloat16).identity.weights_hash
        backbone.identity = replace(rounded, weights_hash=stored, also=(*rounded.also, rounded.weights_hash))
    return backbone


class MediaBackbone(Backbone[Batch]):
    """A frozen encoder of rows that are no texts; `n_first` states of its own may stand before a row's.

    A prompt's states depend on the row that they stand by, so nothing of it can be computed ahead.
    """

    n_first: int
    layers: int

    @property
    def width(self) -> int:
        return int(self.config.hidden_size)

    @property
    def state_width(self) -> int:
        return self.width

    def width_at(self, layer: int) -> int:
        return self.width

    @torch.no_grad()
    def compile(self, injection: Injection, shared: Sequence[int] = ()) -> Injection:
        """The prompt in the backbone's dtype, detached. Its states depend on the row, and are computed with each."""
        return injection.detached(self.dtype)

    def check_layer(self, layer: int | None) -> None:
        """Raise CuetuneError unless states that enter this layer can be read; None are the final ones."""
        if layer is not None and not 0 <= layer < self.layers:
            raise CuetuneError(f"layer {layer}: {self.identity.name} has layers 0 to {self.layers - 1}.")

    def _pooling(self, pooling: str | None) -> str:
        """What is read where this was asked. Raises CuetuneError for a way that is unknown or that the model lacks."""
        pooling = pooling or self.pooling
        if pooling not in POOLINGS:
            raise CuetuneError(f"unknown pooling {pooling!r}; choose one of {', '.join(POOLINGS)}.")
        if pooling == "first" and not self.n_first:
            raise CuetuneError(f"{self.identity.name} has no first state before those of a row; pool the mean.")
        return pooling

    def _identified(
        self, name: str, revision: str | None, weights: Mapping[str, Tensor], prepared: str
    ) -> BackboneIdentity:
        """prepared: the hash of whatever turns rows into the model's input."""
        named = dict(weights)
        return BackboneIdentity(
            name=name,
            revision=revision,
            weights_hash=weights_hash(named),
            also=(hash_in_float16(named),),
            tokenizer_hash=prepared,
            model_type=self.config.model_type,
            hidden_size=self.width,
            num_layers=self.layers,
            num_heads=int(getattr(self.config, "num_attention_heads", 0)),
            kind=self.kind,
        )

    def _must_agree(self, stock: Tensor, ours: Sequence[Tensor], *seen: Mapping[int, Any]) -> None:
        """As for every backbone; and every layer must have been seen, in each of `seen`."""
        least = min(len(each) for each in seen)
        if least != self.layers:
            raise self._refused(self.identity.name, f"{least} of {self.layers} layers take them")
        for each in ours:
            self._must_equal(each, stock)
