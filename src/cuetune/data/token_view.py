"""One example as the model sees it: which tokens are prompt, template and text, and which words are scored."""

from dataclasses import dataclass
from typing import Any

from cuetune.data.row import Example
from cuetune.data.task import Task
from cuetune.data.templating import Renderer, answer_ids, encode


@dataclass(frozen=True)
class Shown:
    """Tokens as text with their role: "prompt", "template" or "text", and the scored answers, each as its tokens."""

    tokens: list[tuple[str, str]]
    answers: list[list[str]]
    cut: int


def show_example(tokenizer: Any, task: Task, example: Example, prompt: str = "") -> Shown:
    """The example as tokens by role. prompt: the words before it, as a hard prompt says them or a soft one starts."""
    renderer = Renderer(tokenizer, task)
    ((pieces, cut),) = renderer.pieces([example])
    before = encode(tokenizer, [prompt], control_tokens=True, begins=True)[0] if prompt else []
    ids = [*before, *renderer.shared, *(token for _, piece in pieces for token in piece)]
    roles = ["prompt"] * len(before) + ["template"] * len(renderer.shared)
    roles += [role for role, piece in pieces for _ in piece]
    words = list(task.label_words) if task.labels else [task.answer(str(example.label))]
    words = words if task.answers.in_words else []
    scored = answer_ids(tokenizer, task, words, control_tokens=False) if words else []
    answers = [[tokenizer.decode([token]) for token in word] for word in scored]
    return Shown([(tokenizer.decode([token]), role) for token, role in zip(ids, roles, strict=True)], answers, cut)
