"""Rows of several learned streams in one batch, over one copy of the model: one pass for queries, one under prompts."""

from collections.abc import Iterable, Sequence
from itertools import islice, zip_longest
from typing import Any

import torch
from torch import Tensor

from cuetune.errors import CuetuneError
from cuetune.methods.continual.answering import ROWS_AT_ONCE, LearnerPredictor
from cuetune.methods.continual.learner import Learner
from cuetune.prediction import Prediction
from cuetune.prompts.query import with_queries
from cuetune.tasks.task import Example

Asked = Sequence[tuple[LearnerPredictor, Iterable[Example]]]


def predict_together(asked: Asked) -> list[list[Prediction]]:
    """What each predictor says of its own examples, in their order.

    The predictors (`LearnedPrompt.predictor`) are of any methods, tasks and labels on the same backbone object. Answers
    are those that each gives alone. Raises CuetuneError where the backbones differ, or a method tuned a copy of it.
    """
    learners = [predictor.learner for predictor, _ in asked]
    _check_shared(learners)
    answers: list[list[Prediction]] = [[] for _ in asked]
    sources = [iter(examples) for _, examples in asked]
    while any(chunks := [list(islice(source, ROWS_AT_ONCE)) for source in sources]):
        logits = logits_together(list(zip(learners, chunks, strict=True)))
        for mine, (predictor, _), rows, scores in zip(answers, asked, chunks, logits, strict=True):
            mine += predictor.said(rows, scores)
    return answers


@torch.no_grad()
def logits_together(asked: Sequence[tuple[Learner, Sequence[Example]]]) -> list[Tensor]:
    """`Learner.logits` of each learner's own examples: (B, C) float32 on the CPU, over that learner's labels."""
    found: list[list[Tensor]] = [[] for _ in asked]
    batches = (learner.batches(examples) if examples else iter(()) for learner, examples in asked)
    for step in zip_longest(*batches):
        here = [number for number, rows in enumerate(step) if rows is not None]
        learners = [asked[number][0] for number in here]
        states = _states(learners, [step[number] for number in here])
        for number, learner, read in zip(here, learners, states, strict=True):
            found[number].append(learner.scores(read).float().cpu())
    return [
        torch.cat(mine) if mine else torch.zeros(0, len(learner.labels))
        for (learner, _), mine in zip(asked, found, strict=True)
    ]


def _states(learners: Sequence[Learner], parts: Sequence[Any]) -> list[Tensor]:
    """What each learner reads of its rows: their queries, or their states under its prompt."""
    backbone: Any = learners[0].backbone
    queried = with_queries(backbone, parts)
    prompts = {number: learner.prompt for number, learner in enumerate(learners) if learner.prompt is not None}
    prompted = [(queried[number], prompt.for_rows(backbone, queried[number])) for number, prompt in prompts.items()]
    found = dict(zip(prompts, backbone.hidden_mixed(prompted), strict=True)) if prompted else {}
    return [found[number] if number in found else rows.query.cpu() for number, rows in enumerate(queried)]


def _check_shared(learners: Sequence[Learner]) -> None:
    for learner in learners:
        if learner.runs_on is not learner.backbone:
            raise CuetuneError(f"{learner.name} tuned a copy of the model, which cannot answer beside other streams.")
        if learner.backbone is not learners[0].backbone:
            raise CuetuneError("streams that answer together need the same backbone object; load it once for all.")
