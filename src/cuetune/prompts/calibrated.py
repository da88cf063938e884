"""Contextual calibration (Zhao et al., ICML 2021): what a prompt answers when nothing is asked is divided out."""

from typing import Any

from torch import Tensor

from cuetune.backbones.injection import Injection
from cuetune.backbones.text import TextBackbone
from cuetune.errors import CuetuneError
from cuetune.prompts.base import Before, Prompt

SMALLEST = 1e-6  # of a content-free probability: below it there is nothing but rounding to divide by


class CalibratedPrompt(Prompt):
    """Any prompt, and the probabilities p_cf that it gives the labels for inputs without content.

    prompt: what answers. content_free: p_cf, (C,) in the task's order of labels, positive. The answer to a row with
    probabilities p is W p, W = diag(p_cf)^-1 (section 5, with b = 0), scaled to sum to 1. See `methods.calibration`.
    """

    kind = "calibrated"

    def __init__(self, prompt: Prompt, content_free: Tensor) -> None:
        super().__init__()
        if content_free.dim() != 1 or len(content_free) < 2 or not bool((content_free > 0).all()):
            raise CuetuneError("calibration needs one positive probability for each of two or more labels.")
        self.prompt = prompt
        self.content_free: Tensor
        self.register_buffer("content_free", content_free.detach().clone().float())

    @property
    def members(self) -> list[Prompt]:
        return self.prompt.members

    def injection(self) -> Injection:
        return self.prompt.injection()

    def combine(self, probabilities: Tensor) -> Tensor:
        """(N, B, C) of the members -> (B, C) calibrated."""
        combined = self.prompt.combine(probabilities)
        if combined.shape[-1] != len(self.content_free):
            raise CuetuneError(
                f"the prompt was calibrated for {len(self.content_free)} labels, but the task has "
                f"{combined.shape[-1]}; calibrate it again."
            )
        weighted = combined / self.content_free.to(combined)
        return weighted / weighted.sum(-1, keepdim=True)

    def per_row(self, backbone: TextBackbone) -> Before | None:
        return self.prompt.per_row(backbone)

    def fold(self) -> Prompt:
        return CalibratedPrompt(self.prompt.fold(), self.content_free)

    @property
    def length(self) -> int:
        return self.prompt.length

    @property
    def holds_examples(self) -> bool:
        return self.prompt.holds_examples

    def described(self) -> str:
        shares = " / ".join(f"{share:.2f}" for share in self.content_free.tolist())
        return f"{self.prompt.described()}; without content it answers {shares}, which is divided out"

    def spec(self) -> dict[str, Any]:
        return {"prompt": [self.prompt.kind, self.prompt.spec()]}

    @classmethod
    def from_spec(cls, spec: dict[str, Any], tensors: dict[str, Tensor]) -> "CalibratedPrompt":
        kind, inner = spec["prompt"]
        own = {name.removeprefix("prompt."): value for name, value in tensors.items() if name.startswith("prompt.")}
        return cls(Prompt.rebuild(kind, inner, own), tensors["content_free"])
