"""Distillation: the student's prompt learns what its teachers answer and think (MPT, Wang et al., ICLR 2023, 3.2)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from cuetune.backbones.injection import Injection
from cuetune.prompts.base import Prompt
from cuetune.readouts import LabelReadout
from cuetune.support.spill_table import SpillTable
from cuetune.tuning.objectives import Batch, Objective
from cuetune.tuning.runs import TextRun
from cuetune.tuning.runs.text import batches_of


@dataclass(frozen=True)
class Taught:
    """What one teacher makes of its task's rows: the labels' probabilities by row (C,), and its final states.

    Of free text there are no labels, so states only.
    """

    answers: dict[int, Tensor]
    states: SpillTable


class Distillation(Objective):
    """weight · (KL(teacher's label distribution || student's) + mean squared difference of final hidden states).

    Means are over rows, and over all numbers of the states of the rows' own tokens: the prompt, what rows share and
    padding are left out. An encoder-decoder model's states are those of its answers. Teachers never change, so their
    outputs are computed once for every row that the run will see, by compiled prompts, and kept (states in the
    backbone's dtype, in a file where they are many).

    teachers: one prompt per task, in the run's order. folder: where a large table of states goes.
    answers, states: which of the two terms to use.
    """

    reads_text = True
    scores_labels = True

    def __init__(
        self,
        teachers: Sequence[Prompt],
        weight: float = 0.9,
        *,
        answers: bool = True,
        states: bool = True,
        folder: Path | None = None,
    ) -> None:
        self.teachers, self.weight, self.folder = teachers, weight, folder
        self.use_answers, self.use_states = answers, states
        self._taught: list[Taught] = []

    def prepare(self, runs: Sequence[TextRun], visited: Sequence[Sequence[int]]) -> None:
        self._taught = [
            _teach(run, teacher, numbers, self.folder)
            for run, teacher, numbers in zip(runs, self.teachers, visited, strict=True)
        ]

    def __call__(self, batch: Batch) -> Tensor:
        taught, terms = self._taught[batch.task], []
        if self.use_answers and taught.answers:
            assert isinstance(batch.readout, LabelReadout)
            teacher = torch.stack([taught.answers[number] for number in batch.numbers]).to(batch.hidden.device)
            student = batch.readout.scores(batch.backbone, batch.hidden).log_softmax(dim=-1)
            terms.append(F.kl_div(student, teacher, reduction="batchmean"))
        if self.use_states:
            assert batch.states is not None, "the loop gives states to objectives that read them"
            wanted = torch.cat([taught.states.of(number) for number in batch.numbers]).to(batch.states.device)
            terms.append(F.mse_loss(batch.states.float(), wanted.float()))
        return self.weight * torch.stack(terms).sum()


@torch.no_grad()
def _teach(run: TextRun, teacher: Prompt, numbers: Sequence[int], folder: Path | None) -> Taught:
    """One teacher's outputs for these rows of its task, many rows to a pass."""
    backbone, shared = run.backbone, run.renderer.shared
    wide = backbone.keeps_states
    answers: dict[int, Tensor] = {}
    table = SpillTable(folder, "It keeps what the teachers make of the rows.")
    compiled = _compiled(run, teacher)
    for batch in batches_of(run.rows, numbers):
        packed = run.readout.rows(run.rows_of(batch), () if backbone.causal else shared)
        asked = replace(packed, read=torch.arange(len(packed.ids)), pool=None) if wide else packed
        found = backbone.hidden(asked, compiled)
        lengths = packed.lengths if wide else [len(run.pack([number]).read) for number in batch]
        for number, states in zip(batch, found.cpu().split(list(lengths)), strict=True):
            table.put(number, states)
        if isinstance(run.readout, LabelReadout):
            here = packed.to(backbone.device)
            hidden = here.wanted(found, here.read) if wide else found
            likely = run.readout.scores(backbone, hidden).softmax(dim=-1).cpu()
            answers |= dict(zip(batch, likely, strict=True))
    return Taught(answers, table)


def _compiled(run: TextRun, teacher: Prompt) -> Injection:
    """The teacher's prompt with the template's beginning behind it, where the model lets it be computed once."""
    return run.backbone.compile(teacher.injection(), run.renderer.shared if run.backbone.causal else ())
