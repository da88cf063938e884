"""How well instructions do on labelled rows: many of them at once, each computed once in a packed pass for all rows."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from cuetune.backbones.batches import TokenBatch
from cuetune.backbones.injection import Injection
from cuetune.backbones.text import TextBackbone
from cuetune.data.row import Example
from cuetune.data.task import Task
from cuetune.errors import CuetuneError
from cuetune.methods.scoring import TOKENS_AT_ONCE
from cuetune.prediction.text import batches_by_length, renderer_for
from cuetune.prompts.hard import HardPrompt
from cuetune.prompts.words import hard_prompt
from cuetune.readouts import LabelReadout, LinearHead, readout_for


@dataclass
class Tally:
    """One prompt's loss and, for labels, whether it was right, on each row so far, in the rows' order."""

    losses: list[float] = field(default_factory=list)
    right: list[bool] = field(default_factory=list)

    def scores(self, rows: int | None = None) -> dict[str, float]:
        """Mean loss and accuracy on the first `rows` rows, as `scoring.rank` compares them."""
        losses, right = self.losses[:rows], self.right[:rows]
        accuracy = {"accuracy": sum(right) / len(right)} if right else {}
        return {**accuracy, "loss": sum(losses) / len(losses)}

    def add(self, losses: Sequence[float], right: Sequence[bool]) -> None:
        self.losses += losses
        self.right += right


class InstructionScorer:
    """Scores instructions as zero-shot hard prompts (`prompts.words.hard_prompt`), with the numbers of `Predictor`.

    longest: tokens of the longest prompt. `passes` and `tokens` count what went through the backbone.
    Raises CuetuneError for a backbone that cannot score words.
    """

    def __init__(self, backbone: TextBackbone, task: Task, longest: int) -> None:
        if task.chat is not None:
            raise CuetuneError(
                "--template chat says the instruction in the system's text, where this search writes none; write a "
                "template out instead."
            )
        self.backbone, self.task = backbone, task
        self.readout = readout_for(backbone, task)
        if isinstance(self.readout, LinearHead):
            raise CuetuneError(
                f"{backbone.identity.name} cannot score words, so no instruction either; choose another."
            )
        self.renderer = renderer_for(backbone, task, longest + self.readout.n_answer)
        self.passes = self.tokens = 0

    def prompt(self, instruction: str) -> HardPrompt:
        """The hard prompt that an instruction is."""
        return hard_prompt(self.backbone, replace(self.task, instruction=instruction))

    @torch.no_grad()
    def score(self, prompts: Sequence[HardPrompt], examples: Sequence[Example]) -> list[Tally]:
        """A tally of these rows for each prompt; a prompt's tokens are computed once in a pass, for all its rows."""
        rows = list(self.renderer.render(examples))
        losses, right = torch.empty(len(prompts), len(rows)), torch.empty(len(prompts), len(rows), dtype=torch.bool)
        injections = [prompt.injection() if prompt.ids else Injection() for prompt in prompts]
        for batch in batches_by_length(rows):
            packed = self.readout.rows([rows[number] for number in batch], self.renderer.shared)
            labels = [rows[number] for number in batch]
            for numbers in self._passes(packed, injections):
                self.passes += 1
                states = self.backbone.hidden_mixed([(packed, injections[number]) for number in numbers])
                for number, hidden in zip(numbers, states, strict=True):
                    each = self.readout.row_losses(self.backbone, hidden, labels)
                    losses[number, batch] = each.float().cpu()
                    right[number, batch] = self._right(hidden, [str(row.label) for row in labels])
        is_label = isinstance(self.readout, LabelReadout)
        return [Tally(a.tolist(), b.tolist() if is_label else []) for a, b in zip(losses, right, strict=True)]

    def _right(self, hidden: Tensor, labels: Sequence[str]) -> Tensor:
        """(B,) whether the best label is the right one; False for written answers, which have no labels."""
        if not isinstance(self.readout, LabelReadout):
            return torch.zeros(len(labels), dtype=torch.bool)
        wanted = torch.tensor([self.readout.index[label] for label in labels])
        return self.readout.scores(self.backbone, hidden).argmax(dim=-1).cpu() == wanted

    def _passes(self, rows: TokenBatch, injections: Sequence[Injection]) -> Iterator[list[int]]:
        """Numbers of prompts that go through the model together, within `TOKENS_AT_ONCE`."""
        together: list[int] = []
        tokens = 0
        for number, injection in enumerate(injections):
            size = injection.n_tokens + len(rows.shared) + len(rows.ids)
            if together and tokens + size > TOKENS_AT_ONCE:
                self.tokens += tokens
                yield together
                together, tokens = [], 0
            together.append(number)
            tokens += size
        self.tokens += tokens
        yield together
