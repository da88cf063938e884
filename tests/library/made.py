"""Small prompts for the tests of the library, and storages of every kind to keep them in."""

from dataclasses import replace

import torch

from cuetune.backbones.identity import BackboneIdentity
from cuetune.data.task import Task
from cuetune.library.tuned import TunedPrompt
from cuetune.prompts import SoftPrompt

IDENTITY = BackboneIdentity("tiny-llama", None, "ab" * 32, "cd" * 32, "llama", 6, 2, 2)
TASK = Task(template="Review: {text}\nSentiment:", labels=("neg", "pos"), name="reviews")


def tuned(number: float = 0, score: float | None = None, *, task=TASK, backbone="tiny-llama", **record) -> TunedPrompt:
    """A soft prompt of five virtual tokens; another number is another prompt."""
    if score is not None:
        value = {"value": score, "low": score - 0.1, "high": score + 0.1}
        record |= {"scores": {"tuned": {"accuracy": value, "macro_f1": {**value, "value": 0.0}}}, "scored_rows": 9}
    words = torch.arange(30.0).reshape(5, 6) + number
    return TunedPrompt(SoftPrompt(words), task, replace(IDENTITY, name=backbone), record)


def same(first: TunedPrompt, second: TunedPrompt) -> bool:
    """Whether two prompts are the same, their records apart."""
    ours, theirs = first.prompt.state_dict(), second.prompt.state_dict()
    return (first.task, first.backbone, first.prompt.spec()) == (
        second.task,
        second.backbone,
        second.prompt.spec(),
    ) and all(torch.equal(ours[name], theirs[name]) for name in {*ours, *theirs})
