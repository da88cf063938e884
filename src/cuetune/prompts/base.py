"""Prompt: a small module that answers one question — what is added to the frozen forward pass?"""

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from torch import Tensor, nn

from cuetune.backbones.injection import Injection
from cuetune.data.row import Example
from cuetune.errors import CuetuneError

# From examples to the tokens that stand before each of them, behind the prompt.
Before = Callable[[Sequence[Example]], list[list[int]]]

LARGEST = 2**26  # numbers of any tensor that a prompt is made of; wide models' prompts are a tenth of this
NETWORK_RATE = 0.1  # how fast a network that puts out a prompt learns, relative to the prompt itself


def affordable(*sides: int) -> None:
    """Raise CuetuneError for a tensor of these sides that no prompt needs: a damaged file may ask for any."""
    if min(sides) < 0 or math.prod(sides) > LARGEST:
        raise CuetuneError(f"a tensor of {' x '.join(map(str, sides))[:60]} numbers is none of a prompt.")


class Prompt(nn.Module):
    """Base of every prompt. A new kind is one subclass in one file: it registers itself under its `kind`.

    reads_rows: whether it looks at each row (`for_rows`); then it cannot be compiled. by_query: what it makes of a row
    follows from the row's query alone (`prompts.query`), which never changes.
    What is learned lives in float32 parameters whatever the backbone's dtype. `spec()` and `state_dict()` together
    rebuild the prompt: `Prompt.rebuild(kind, spec, tensors)`.
    """

    kind: ClassVar[str] = ""
    reads_rows: ClassVar[bool] = False
    by_query: ClassVar[bool] = False
    kinds: ClassVar[dict[str, type["Prompt"]]] = {}

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if cls.kind:
            Prompt.kinds[cls.kind] = cls

    @abstractmethod
    def injection(self) -> Injection:
        """What this prompt adds; differentiable in its parameters."""

    def for_rows(self, backbone: Any, rows: Any) -> Injection:
        """What is added to these rows; differentiable. The same for all of them, unless the prompt looks at each.

        backbone, rows: a `Backbone` and what goes through one of its passes: `TokenBatch` of texts, `ImageBatch`, ….
        """
        return self.injection()

    @abstractmethod
    def spec(self) -> dict[str, Any]:
        """JSON-ready values that the constructor of `rebuild` needs besides the tensors."""

    @classmethod
    @abstractmethod
    def from_spec(cls, spec: dict[str, Any], tensors: dict[str, Tensor]) -> "Prompt":
        """The prompt that `spec()` and `state_dict()` describe."""

    @staticmethod
    def rebuild(kind: str, spec: dict[str, Any], tensors: dict[str, Tensor]) -> "Prompt":
        """Rebuild a saved prompt. Raises CuetuneError for a kind that this version does not know."""
        if kind not in Prompt.kinds:
            raise CuetuneError(
                f"prompt kind {kind!r} is not known here (known: {', '.join(sorted(Prompt.kinds))}); "
                "it may need a newer cuetune."
            )
        return Prompt.kinds[kind].from_spec(spec, tensors)

    def of_task(self, number: int) -> "Prompt":
        """The prompt of one task of a run: this one, unless tasks share it in part (`MultitaskPrompt`)."""
        return self

    def fold(self) -> "Prompt":
        """What is kept of this prompt after training: the same injection without what only helped to train it."""
        return self

    @property
    def members(self) -> list["Prompt"]:
        """The prompts that answer: this one, unless it is an ensemble."""
        return [self]

    def combine(self, probabilities: Tensor) -> Tensor:
        """One answer from those of the members, (N, B, C) -> (B, C)."""
        return probabilities[0]

    def per_row(self, backbone: Any) -> Before | None:
        """What chooses words for each row beside the injection, which is the same for all; None where nothing does."""
        return None

    @property
    def holds_examples(self) -> bool:
        """Whether labelled rows can be read in it word for word."""
        return False

    def groups(self) -> list[tuple[list[nn.Parameter], float]]:
        """What is trained, with the learning rate of each part relative to the run's."""
        return [([parameter for parameter in self.parameters() if parameter.requires_grad], 1.0)]

    def size(self, embedding_size: float) -> float:
        """How large the trained numbers are at the start; the learning rate is stated relative to it.

        embedding_size: root mean square of the backbone's embedding table.
        """
        return embedding_size

    @property
    def frozen_below(self) -> int:
        """The lowest layer that this prompt touches; states below it are the frozen model's own."""
        return 0

    @property
    def length(self) -> int:
        """Positions that the prompt takes before the text."""
        injection = self.injection()
        return injection.n_tokens + injection.n_kv

    def described(self) -> str:
        """What is added and where, for a reader: "20 virtual tokens at the embedding layer"."""
        return described(self.injection())

    @property
    def n_trained(self) -> int:
        """How many numbers are learned."""
        return sum(parameter.numel() for parameter in self.parameters() if parameter.requires_grad)


def described(injection: Injection) -> str:
    """What an injection adds and where, in words."""
    parts = []
    if injection.tokens:
        parts.append(f"{injection.n_tokens} virtual tokens at {_layers(list(injection.tokens))}")
    if injection.kv:
        parts.append(f"{injection.n_kv} positions of keys and values in {_layers(list(injection.kv))}")
    if injection.offsets is not None:
        parts.append(f"offsets of the text's first {len(injection.offsets)} tokens")
    return " and ".join(parts) or "nothing"


def _layers(numbers: list[int]) -> str:
    if numbers == [0]:
        return "the embedding layer"
    return f"layer {numbers[0]}" if len(numbers) == 1 else f"layers {min(numbers)} to {max(numbers)}"
