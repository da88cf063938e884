"""Readouts: from hidden states to an answer. A fixed set of labels is scored; generated text is written freely."""

from cuetune.answers import refuse
from cuetune.backbones.text import TextBackbone
from cuetune.errors import CuetuneError
from cuetune.readouts.base import LabelReadout
from cuetune.readouts.head import POOLINGS, Head, LinearHead
from cuetune.readouts.multi_label_words import MultiLabelWords
from cuetune.readouts.text import GeneratedText
from cuetune.readouts.vocabulary_words import VocabularyWords
from cuetune.readouts.words import LabelWords, MaskedWords, UnscorableError
from cuetune.tasks.task import Task

__all__ = [
    "POOLINGS",
    "READOUTS",
    "GeneratedText",
    "Head",
    "LabelReadout",
    "LabelWords",
    "LinearHead",
    "MaskedWords",
    "MultiLabelWords",
    "Readout",
    "VocabularyWords",
    "readout_for",
    "why_head",
]

READOUTS = ("auto", "words", "head")
Readout = LabelWords | MultiLabelWords | LinearHead | GeneratedText


def readout_for(
    backbone: TextBackbone, task: Task, kind: str = "auto", *, pooling: str | None = None, seed: int = 0
) -> Readout:
    """The readout that a task's answers need.

    kind: "words" (label words; at the mask in an encoder), "head" (a new `LinearHead`, to be trained), or "auto": for
    one label words where the model can score them, else a head (`why_head` says why). pooling, seed: of a new head.
    Raises CuetuneError when backbone and task do not go together.
    """
    if kind not in READOUTS:
        raise CuetuneError(f"unknown readout {kind!r}; choose one of {', '.join(READOUTS)}.")
    if task.generates and (kind == "head" or not backbone.writes):
        reason = "a head needs labels" if backbone.writes else f"{backbone.identity.name} is an encoder, writes no text"
        raise CuetuneError(f"the task has no labels, and {reason}; name them with --labels, or use another readout.")
    if task.generates:
        return GeneratedText(backbone, task)
    if kind == "auto" and task.answers.usual_readout == "head":
        kind = "head"
    if kind == "words":
        refuse(task, "label words (--readout words)", "regression")
    if kind == "head" or (kind == "auto" and why_head(backbone, task) is not None):
        return LinearHead(backbone, task, pooling, seed)
    if task.answers.kind == "multi-label":
        return MultiLabelWords(backbone, task)
    if not backbone.writes:
        return MaskedWords(backbone, task)
    return VocabularyWords(backbone, task) if task.scoring == "vocabulary" else LabelWords(backbone, task)


def why_head(backbone: TextBackbone, task: Task) -> str | None:
    """Why "auto" takes a head for this model and these label words; None where it scores the words, or
    where tasks of this kind usually have a head."""
    if not backbone.has_words:
        return f"{backbone.identity.name} has no head that scores words"
    if backbone.writes or task.generates or task.answers.usual_readout == "head":
        return None
    try:
        MaskedWords(backbone, task)
    except UnscorableError as error:
        return error.reason
    return None
