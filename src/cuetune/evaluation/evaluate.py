"""Prompts side by side on the same rows: the tuned one beside the same task said in words, zero-shot and few-shot."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from cuetune.answers.prediction import Prediction
from cuetune.backbones.generation import Writing
from cuetune.backbones.text import TextBackbone
from cuetune.data.row import Example
from cuetune.data.task import Task
from cuetune.errors import CuetuneError
from cuetune.metrics.classification import Score
from cuetune.prediction.text import Predictor
from cuetune.prompts.base import Prompt
from cuetune.prompts.words import choose, hard_prompt
from cuetune.readouts import Readout, readout_for


class Source(Protocol):
    """Whatever answers rows: a `Predictor`, or a baseline that has no prompt."""

    def predict(self, examples: Iterable[Example]) -> Iterator[Prediction]: ...


@dataclass(frozen=True)
class Result:
    """How one prompt did: scores with intervals, (C, C) confusion counts, expected calibration error, seconds.

    cut_rows: rows whose text was cut, to `limit` tokens. unfinished: written answers that did not end within
    `answer_limit` tokens.
    per_label: of several labels for a row, threshold, precision, recall, F1 and support of each.
    """

    scores: dict[str, Score]
    seconds: float
    cut_rows: int
    confusion: np.ndarray | None = None
    calibration_error: float | None = None
    limit: int = 0
    unfinished: int = 0
    answer_limit: int = 0
    per_label: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True)
class Evaluation:
    """Results by method ("tuned", "zero-shot", "few-shot (k=8)") on the same `rows` rows."""

    task: Task
    rows: int
    results: dict[str, Result] = field(default_factory=dict)

    def scores(self) -> dict[str, dict[str, dict[str, float]]]:
        """As JSON-ready values: method -> metric -> value, low, high."""
        return {
            method: {name: score.to_dict() for name, score in result.scores.items()}
            for method, result in self.results.items()
        }

    def to_dict(self) -> dict[str, Any]:
        """The whole evaluation as JSON-ready values."""
        methods = {
            method: {
                **{name: score.to_dict() for name, score in result.scores.items()},
                "calibration_error": result.calibration_error,
                "confusion": None if result.confusion is None else result.confusion.tolist(),
                "seconds": round(result.seconds, 3),
                "cut_rows": result.cut_rows,
                **({"unfinished": result.unfinished} if self.task.generates else {}),
                **({"per_label": list(result.per_label)} if result.per_label else {}),
            }
            for method, result in self.results.items()
        }
        return {"rows": self.rows, "labels": list(self.task.labels), "methods": methods}


def evaluate_sources(
    task: Task,
    sources: Mapping[str, Source],
    examples: Sequence[Example],
    on_row: Callable[[str], None] | None = None,
) -> Evaluation:
    """Score every source of answers on the same labelled examples. on_row is called with its name after each row.

    Written answers may be as long as the longest of the examples' own.
    """
    if not examples:
        raise CuetuneError("no rows to evaluate.")
    results = {}
    for method, source in sources.items():
        if task.generates and isinstance(source, Predictor):
            source.expect([str(example.label) for example in examples])
        started = time.perf_counter()
        predictions = []
        for prediction in best_answers(source, examples):
            predictions.append(prediction)
            if on_row is not None:
                on_row(method)
        results[method] = _result(task, predictions, examples, time.perf_counter() - started)
    return Evaluation(task, len(examples), results)


def best_answers(source: Source, examples: Iterable[Example]) -> Iterator[Prediction]:
    """The answers with their own probabilities; those of other labels too where they cost nothing."""
    return source.predict(examples, best_only=True) if isinstance(source, Predictor) else source.predict(examples)


def _result(task: Task, predictions: Sequence[Prediction], examples: Sequence[Example], seconds: float) -> Result:
    cut = sum(prediction.cut > 0 for prediction in predictions)
    limits: dict[str, Any] = {
        "limit": max(prediction.limit for prediction in predictions),
        "unfinished": sum(prediction.unfinished > 0 for prediction in predictions),
        "answer_limit": max(prediction.unfinished for prediction in predictions),
    }
    found = task.answers.measured(predictions, [example.label for example in examples])
    return Result(
        found.scores, seconds, cut, found.confusion, found.calibration_error, **limits, per_label=found.per_label
    )


def own_name(prompt: Prompt) -> str:
    """What a prompt is called beside its baselines: "tuned", or its kind where nothing was."""
    return "tuned" if prompt.n_trained else prompt.kind


def in_words(
    backbone: TextBackbone,
    task: Task,
    demonstrations: Sequence[Example],
    shots: int = 8,
    seed: int = 0,
    writing: Writing | None = None,
) -> dict[str, Predictor]:
    """The same task in words: zero-shot, and few-shot with as many of `shots` demonstrations as fit, balanced.

    Long demonstrations are cut in the middle so that together they take at most a quarter of the model's positions.
    Empty for a model that cannot score the labels' words: it has no head for words, or they are no single tokens of it.
    """
    try:
        prompts = {"zero-shot": Predictor(backbone, task, hard_prompt(backbone, task), writing, _words(backbone, task))}
    except CuetuneError:
        return {}
    shots = min(shots, len(demonstrations))
    while shots:
        shown = choose(demonstrations, shots, seed=seed)
        short = replace(task, max_tokens=max(8, min(task.max_tokens, backbone.max_positions // (4 * shots))))
        try:
            few = hard_prompt(backbone, short, shown)
            prompts[f"few-shot (k={shots})"] = Predictor(backbone, task, few, writing, _words(backbone, task))
            break
        except CuetuneError:  # too long for this model even when cut: fewer demonstrations
            shots //= 2
    return prompts


def _words(backbone: TextBackbone, task: Task) -> Readout:
    return readout_for(backbone, task, "auto" if task.generates else "words")
