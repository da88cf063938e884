"""What a run looks at before it begins on texts: tokens that the model does not know, lengths of answers, readouts."""

from collections.abc import Sequence
from dataclasses import replace

from cuetune.backbones.base import Backbone
from cuetune.backbones.text import TextBackbone
from cuetune.data.row import Example
from cuetune.data.task import Task
from cuetune.data.templating import Renderer
from cuetune.readouts import GeneratedText, why_head


def refuse_unknown_tokens(backbone: Backbone, task: Task, examples: Sequence[Example]) -> None:
    """Raise CuetuneError for the first example that holds a token which the model has no embedding of."""
    if isinstance(backbone, TextBackbone) and len(backbone.tokenizer) > len(backbone.embedding_table()):
        for _ in Renderer(backbone.tokenizer, task).render(examples):
            pass


def with_answer_length(backbone: Backbone, task: Task, examples: Sequence[Example]) -> Task:
    """The task with the length of its longest written answer under this backbone, in tokens."""
    if not isinstance(backbone, TextBackbone) or not task.generates:
        return task
    lengths = GeneratedText(backbone, task).lengths([str(example.label) for example in examples])
    return replace(task, max_answer=max(lengths, default=None))


def readout_note(backbone: Backbone, task: Task, readout: str) -> str | None:
    """What to say of how answers are read, where a run decides it (`Settings.readout` "auto")."""
    if not isinstance(backbone, TextBackbone) or readout != "auto" or task.generates:
        return None
    reason = why_head(backbone, task)
    return None if reason is None else f"{reason}: a head is trained instead (--readout head)"
