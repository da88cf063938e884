"""Readouts: from hidden states to an answer. A fixed set of labels is scored; generated text is written freely."""

from cuetune.answers import refuse
from cuetune.backbones.audio import AudioBackbone
from cuetune.backbones.seeing import SeeingBackbone
from cuetune.backbones.text import TextBackbone
from cuetune.backbones.whisper import WhisperBackbone
from cuetune.data.task import Task
from cuetune.errors import CuetuneError
from cuetune.readouts.base import LabelReadout, TextReadout
from cuetune.readouts.linear_head import POOLINGS, ClassHead, Head, LinearHead, MediaHead, TextHead
from cuetune.readouts.multi_label_words import MultiLabelWords
from cuetune.readouts.text import GeneratedText
from cuetune.readouts.transcript import Transcript
from cuetune.readouts.vocabulary_words import VocabularyWords
from cuetune.readouts.words import LabelWords, MaskedWords, UnscorableError

__all__ = [
    "POOLINGS",
    "READOUTS",
    "GeneratedText",
    "Head",
    "LabelReadout",
    "LabelWords",
    "LinearHead",
    "MaskedWords",
    "MediaHead",
    "MultiLabelWords",
    "Readout",
    "TextHead",
    "TextReadout",
    "Transcript",
    "VocabularyWords",
    "audio_readout",
    "image_readout",
    "readout_for",
    "why_head",
]

READOUTS = ("auto", "words", "head")
Readout = LabelWords | MultiLabelWords | TextHead | GeneratedText


def readout_for(
    backbone: TextBackbone, task: Task, kind: str = "auto", *, pooling: str | None = None, seed: int = 0
) -> Readout:
    """The readout that a task's answers need.

    kind: "words" (label words; at the mask in an encoder), "head" (a new `TextHead`, to be trained), or "auto": for
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
        return TextHead(backbone, task, pooling, seed=seed)
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


def image_readout(
    backbone: SeeingBackbone,
    task: Task,
    kind: str = "auto",
    *,
    pooling: str | None = None,
    layer: int | None = None,
    seed: int = 0,
) -> MediaHead:
    """The readout of images and video. kind: "head" (or "auto") is trained, "classes" are the model's own.

    Raises CuetuneError for a readout of texts, and for classes with options of a trained head.
    """
    if kind in ("auto", "head"):
        return MediaHead(backbone, task, pooling, layer, seed)
    if kind != "classes":
        raise CuetuneError(f"--readout {kind}: of images a head reads answers, or the model's classes.")
    refuse(task, "--readout classes")
    if pooling is not None or layer is not None:
        raise CuetuneError("--readout classes reads what the model's classifier does; leave --pooling, --head-layer.")
    return ClassHead(backbone, task)


def audio_readout(
    backbone: AudioBackbone, task: Task, *, pooling: str | None = None, layer: int | None = None, seed: int = 0
) -> MediaHead | Transcript:
    """The readout of audio: a new head for labels, transcripts where there are none.

    Raises CuetuneError where transcripts are asked of a model that cannot write.
    """
    if not task.generates:
        return MediaHead(backbone, task, pooling, layer, seed)
    if not isinstance(backbone, WhisperBackbone):
        raise CuetuneError(f"{backbone.identity.name} hears and writes nothing; give labels, or a Whisper as --model.")
    if layer is not None:
        raise CuetuneError("--head-layer: a transcript is written from the final states; leave it out.")
    return Transcript(backbone, task)
