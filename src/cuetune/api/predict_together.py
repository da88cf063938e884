"""Rows of several learned streams in one batch, over one copy of the model: one pass for queries, one under prompts."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, zip_longest
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cuetune.answers.prediction import Prediction
from cuetune.api.predict import backbone_for, load
from cuetune.backbones.base import Backbone
from cuetune.data.readers.registry import reader_of
from cuetune.data.row import Example
from cuetune.errors import CuetuneError
from cuetune.methods.continual.answering import ROWS_AT_ONCE, LearnedPrompt, LearnerPredictor
from cuetune.methods.continual.learner import Learner
from cuetune.prompts.query import with_queries


def predict_together(
    asked: Sequence[tuple[LearnedPrompt | str | Path, Any]],
    *,
    model: str | Backbone | None = None,
    encoding: str = "utf-8",
    **options: Any,
) -> list[list[Prediction]]:
    """What each learned stream says of its own rows, in their order: the answers that `predict` gives for each alone.

    asked: streams (`cuetune.load`, or their folders), of any methods, tasks and labels, each with its data. model: the
    backbone of all; by default the one that the first was learned on. encoding, options: as of `predict`.
    Raises CuetuneError for nothing asked, what is no learned stream, another backbone, or a method that tuned a copy.
    """
    if not asked:
        return []
    streams = [_loaded(stream) for stream, _ in asked]
    names = [str(stream) if isinstance(stream, str | Path) else "stream" for stream, _ in asked]
    backbone = backbone_for(streams[0], model, names[0], **options)
    for name, stream in zip(names, streams, strict=True):
        stream.backbone.check(backbone.identity, name)
    rows = [_examples(stream, data, encoding) for stream, (_, data) in zip(streams, asked, strict=True)]
    return answers_together([stream.predictor(backbone) for stream in streams], rows)


def answers_together(
    predictors: Sequence[LearnerPredictor], sources: Sequence[Iterable[Example]]
) -> list[list[Prediction]]:
    """Predictions for each predictor's examples. Raises CuetuneError where backbones are not one object."""
    learners = [predictor.learner for predictor in predictors]
    _check_shared(learners)
    answers: list[list[Prediction]] = [[] for _ in predictors]
    waiting = [iter(examples) for examples in sources]
    while any(chunks := [list(islice(source, ROWS_AT_ONCE)) for source in waiting]):
        logits = logits_together(list(zip(learners, chunks, strict=True)))
        for mine, predictor, rows, scores in zip(answers, predictors, chunks, logits, strict=True):
            mine += predictor.said(rows, scores)
    return answers


def _examples(stream: LearnedPrompt, data: Any, encoding: str) -> Iterator[Example]:
    rows = reader_of(stream.task).read(data, encoding=encoding, labelled=False)
    return (stream.task.example(row, labelled=False) for row in rows)


def _loaded(stream: Any) -> LearnedPrompt:
    found = load(stream) if isinstance(stream, str | Path) else stream
    if not isinstance(found, LearnedPrompt):
        raise CuetuneError(f"{stream}: is no learned stream (`cuetune learn`); answer a prompt's rows with `predict`.")
    return found


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
