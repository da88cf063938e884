"""Prompt ensembles (Lester et al. 2021, section 6): N prompts on one frozen model, one pass, one vote."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from cuetune.backbones.injection import Injection
from cuetune.errors import CuetuneError
from cuetune.prompts.base import Prompt

VOTES = ("majority", "mean")


class EnsemblePrompt(Prompt):
    """Several prompts of any kind for the same backbone and task; each row is read once under each of them.

    vote: "majority" of the members' labels (ties go to the higher mean probability), or "mean" of their probabilities.
    """

    kind = "ensemble"

    def __init__(self, prompts: Sequence[Prompt], vote: str = "majority") -> None:
        super().__init__()
        if vote not in VOTES:
            raise CuetuneError(f"unknown vote {vote!r}; choose one of {', '.join(VOTES)}.")
        if not prompts:
            raise CuetuneError("an ensemble of no prompts; give at least one.")
        self.prompts, self.vote = nn.ModuleList(prompts), vote

    @property
    def members(self) -> list[Prompt]:
        return list(self.prompts)  # type: ignore[arg-type]

    def injection(self) -> Injection:
        raise CuetuneError("an ensemble is not tuned as one; tune its members, each with its own --seed.")

    def combine(self, probabilities: Tensor) -> Tensor:
        """(N, B, C) of the members -> (B, C): the share of votes, or the mean."""
        mean = probabilities.mean(0)
        if self.vote == "mean":
            return mean
        votes = nn.functional.one_hot(probabilities.argmax(-1), probabilities.shape[-1]).to(mean).mean(0)
        most = votes == votes.max(-1, keepdim=True).values
        winner = torch.where(most, mean, -1.0).argmax(-1)
        # A tie would leave the label to chance: the winner is lifted by less than any share of a vote.
        return (votes + 1e-4 * nn.functional.one_hot(winner, votes.shape[-1])) / (1 + 1e-4)

    @property
    def length(self) -> int:
        return max(member.length for member in self.members)

    @property
    def holds_examples(self) -> bool:
        return any(member.holds_examples for member in self.members)

    def described(self) -> str:
        listed = "; ".join(f"{member.kind}: {member.described()}" for member in self.members)
        return f"{len(self.members)} prompts by {self.vote} ({listed})"

    def spec(self) -> dict[str, Any]:
        return {"vote": self.vote, "members": [[prompt.kind, prompt.spec()] for prompt in self.members]}

    @classmethod
    def from_spec(cls, spec: dict[str, Any], tensors: dict[str, Tensor]) -> "EnsemblePrompt":
        members = []
        for number, (kind, inner) in enumerate(spec["members"]):
            start = f"prompts.{number}."
            own = {name.removeprefix(start): value for name, value in tensors.items() if name.startswith(start)}
            members.append(Prompt.rebuild(kind, inner, own))
        return cls(members, spec["vote"])
