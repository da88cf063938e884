"""Prompt: a small module that answers one question — what is added to the frozen forward pass?"""

from abc import abstractmethod
from typing import Any, ClassVar

from torch import Tensor, nn

from cuetune.backbones.injection import Injection
from cuetune.errors import CuetuneError


class Prompt(nn.Module):
    """Base of every prompt. A new kind is one subclass in one file: it registers itself under its `kind`.

    What is learned lives in float32 parameters whatever the backbone's dtype. `spec()` and `state_dict()` together
    rebuild the prompt: `Prompt.rebuild(kind, spec, tensors)`.
    """

    kind: ClassVar[str] = ""
    kinds: ClassVar[dict[str, type["Prompt"]]] = {}

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if cls.kind:
            Prompt.kinds[cls.kind] = cls

    @abstractmethod
    def injection(self) -> Injection:
        """What this prompt adds; differentiable in its parameters."""

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

    @property
    def n_trained(self) -> int:
        """How many numbers are learned."""
        return sum(parameter.numel() for parameter in self.parameters() if parameter.requires_grad)
