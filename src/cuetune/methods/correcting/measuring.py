"""What came of a fix: how many mistakes are corrected, and what it did to rows that it was not made for."""

import datetime
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from cuetune.answers.prediction import Prediction
from cuetune.backbones.text import TextBackbone
from cuetune.data.row import Example
from cuetune.evaluation.evaluate import Evaluation, Source, evaluate_sources
from cuetune.library.digest import digest
from cuetune.library.tuned import TunedPrompt
from cuetune.methods.correcting.mistakes import Corrections
from cuetune.tuning.recording import versions

CORRECTED, BEFORE = "corrected", "before"  # the prompt with the fix and without, as their scores are called


@dataclass(frozen=True)
class Changed:
    """Held-out rows whose answer the fix changed: all of them, those now right, those now wrong."""

    answers: int
    to_right: int
    to_wrong: int


@dataclass(frozen=True)
class Fixed:
    """A corrected prompt and what came of the fix.

    mistakes: how many there were, of which `corrected` are now answered right. right: how many corrections were
    answered right before, of which `kept` still are. evaluation, changed: of the held-out rows, where there are any.
    """

    tuned: TunedPrompt
    mistakes: int
    corrected: int
    right: int
    kept: int
    evaluation: Evaluation | None = None
    changed: Changed | None = None


def measured(
    before: TunedPrompt,
    after: TunedPrompt,
    backbone: TextBackbone,
    found: Corrections,
    scored: Sequence[Example],
    name: str,
) -> Fixed:
    """Answers before and after, and the record of the corrected prompt. name: what the former prompt is called."""
    predictor = after.predictor(backbone)
    corrected, kept = _n_right(predictor, found.mistakes), _n_right(predictor, found.right)
    fixed = Fixed(after, len(found.mistakes), corrected, len(found.right), kept)
    if scored:
        new, old = _Remembered(predictor), _Remembered(before.predictor(backbone))
        evaluation = evaluate_sources(before.task, {CORRECTED: new, BEFORE: old}, scored)
        fixed = replace(fixed, evaluation=evaluation, changed=_changed(scored, old.answers, new.answers))
    return replace(fixed, tuned=replace(after, record=_record(before, fixed, name)))


def _n_right(predictor: Source, examples: Sequence[Example]) -> int:
    answers = predictor.predict(examples)
    return sum(answer.label == example.label for example, answer in zip(examples, answers, strict=True))


@dataclass
class _Remembered:
    """A source of answers that keeps them."""

    source: Source
    answers: list[Prediction] = field(default_factory=list)

    def predict(self, examples: Iterable[Example]) -> Iterator[Prediction]:
        for answer in self.source.predict(examples):
            self.answers.append(answer)
            yield answer


def _changed(examples: Sequence[Example], old: Sequence[Prediction], new: Sequence[Prediction]) -> Changed:
    moved = [
        (then.label == example.label, now.label == example.label)
        for example, then, now in zip(examples, old, new, strict=True)
        if then.label != now.label
    ]
    return Changed(len(moved), sum(now for _, now in moved), sum(then for then, _ in moved))


def _record(before: TunedPrompt, fixed: Fixed, name: str) -> dict[str, Any]:
    """How the corrected prompt was made. Of the corrections it holds how many there were, and nothing else.

    The former prompt's record is kept whole: `roll_back` puts it back.
    """
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    made: dict[str, Any] = {
        "created": today,
        "rows": fixed.mistakes,
        "corrected": fixed.corrected,
        "right": fixed.right,
        "kept": fixed.kept,
    }
    if fixed.changed is not None:
        made["changed"] = vars(fixed.changed)
    kept: dict[str, Any] = {key: before.record[key] for key in ("data", "seed", "license") if key in before.record}
    kept |= {"versions": versions(), "created": today}
    if fixed.evaluation is not None:
        kept |= {"scores": fixed.evaluation.scores(), "scored_rows": fixed.evaluation.rows}
    return {
        **kept,
        "fixes": [*before.record.get("fixes", []), made],
        "lineage": [{"relation": "corrected from", "name": name, "digest": digest(before)}],
        "former": before.record,
    }
