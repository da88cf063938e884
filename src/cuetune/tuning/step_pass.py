"""One pass of the frozen model over the rows of a step: each task's prompt is computed once, no padding anywhere."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from cuetune.backbones.base import Backbone
from cuetune.prompts.base import Prompt
from cuetune.prompts.query import with_queries
from cuetune.tuning.batches import StepRows
from cuetune.tuning.objectives import Batch
from cuetune.tuning.runs import Run
from cuetune.tuning.runs.augmentation import Augmentation


@dataclass(frozen=True)
class StepPass:
    """What the objectives see of a step. reads_text: some of them compare texts token by token.

    queries: (N, D) of each task's rows, for a prompt that goes by them; where they are not given, each step asks for
    its own.
    augmentation: changes images at random before they go through the model; None for none.
    """

    backbone: Backbone
    prompt: Prompt
    runs: Sequence[Run]
    reads_text: bool
    queries: Sequence[Tensor]
    augmentation: Augmentation | None = None

    def __call__(self, chosen: StepRows, step: int) -> tuple[list[Batch], int]:
        """A batch for each task of step 0, 1, …, and how many tokens went through the model."""
        rendered = [self.runs[task].rows_of(numbers) for task, numbers in chosen]
        asked = [self._packed(task, numbers, step) for task, numbers in chosen]
        widely = self.backbone.keeps_states and self.reads_text
        wide = [replace(rows, read=torch.arange(len(rows.ids)), pool=None) if widely else rows for rows in asked]
        injections = [
            self.prompt.of_task(task).for_rows(self.backbone, rows)
            for (task, _), rows in zip(chosen, asked, strict=True)
        ]
        tokens = sum(len(rows.ids) + len(rows.shared) for rows in asked)
        tokens += sum(injection.n_tokens for injection in injections)
        states = self._states(chosen, list(zip(wide, injections, strict=True)))
        batches = [
            Batch(
                self.backbone,
                self.prompt,
                self.runs[task].training_readout,
                rows,
                packed.to(self.backbone.device).wanted(found, packed.read.to(found.device)) if widely else found,
                found,
                task,
                numbers,
                packed.query,
            )
            for (task, numbers), rows, packed, found in zip(chosen, rendered, asked, states, strict=True)
        ]
        return batches, tokens

    def _packed(self, task: int, numbers: Sequence[int], step: int) -> Any:
        """A task's rows as they go through the backbone, with their queries where the prompt goes by them."""
        packed = self.runs[task].pack(numbers)
        if self.augmentation:
            packed = replace(packed, pixels=self.augmentation(packed.pixels, step, task))
        if self.queries:
            return replace(packed, query=self.queries[task][list(numbers)])
        return with_queries(self.backbone, [packed])[0] if self.prompt.by_query else packed

    def _states(self, chosen: StepRows, parts: list[tuple[Any, Any]]) -> list[Tensor]:
        """The states that each part's rows ask for, from the layer on where nothing below is kept for good."""
        if self.runs[0].states is None:
            return self.backbone.hidden_mixed(parts)
        found = []
        for (task, numbers), (rows, injection) in zip(chosen, parts, strict=True):
            kept = self.runs[task].states
            assert kept is not None, "all tasks of a run are frozen to the same layer"
            found.append(self.backbone.hidden_from(kept.layer, kept.of(numbers), rows, injection))
        return found
