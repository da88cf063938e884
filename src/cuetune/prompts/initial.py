"""Where a soft prompt starts: from a text, from the class labels, from common words, or at random (Lester 2021, 3.2).

The start decides more about the result than anything else that a user can set; text is the default.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from cuetune.backbones.text import TextBackbone
from cuetune.data.task import Task
from cuetune.data.templating import answer_ids, encode
from cuetune.errors import CuetuneError
from cuetune.prompts.hard import HardPrompt
from cuetune.prompts.soft import SoftPrompt

COMMONEST = 5000


def initial_embeddings(
    backbone: TextBackbone, task: Task, *, init: str = "text", length: int = 20, text: str | None = None, seed: int = 0
) -> Tensor:
    """The first embeddings of `length` virtual tokens, (P, d) in float32.

    init: "text" (the embeddings of `text`, by default the task's instruction, repeated or cut to length), "labels"
    (one row per label, the mean of its tokens; the rest common words), "vocabulary" (rows of the 5,000 commonest
    tokens) or "random" (normal, matched to the embedding table's mean row norm).
    """
    if init not in INITS:
        raise CuetuneError(f"unknown init {init!r}; choose one of {', '.join(INITS)}.")
    if length < 1:
        raise CuetuneError(f"a prompt of {length} tokens; give at least 1.")
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        return INITS[init](backbone, task, length, text or task.instruction, generator).float()


def soft_prompt(backbone: TextBackbone, task: Task, **how: Any) -> SoftPrompt:
    """A new soft prompt; how: see `initial_embeddings`."""
    return SoftPrompt(initial_embeddings(backbone, task, **how))


def soft_from_hard(hard: HardPrompt) -> SoftPrompt:
    """A soft prompt that starts as exactly this hard prompt: same length, same answers at step 0."""
    return SoftPrompt(hard.embeddings)


def _from_text(backbone: TextBackbone, task: Task, length: int, text: str, generator: torch.Generator) -> Tensor:
    ids = encode(backbone.tokenizer, [text], control_tokens=True, begins=True)[0]
    if not ids:
        raise CuetuneError("the text to start from is empty; give one with --init-text or an --instruction.")
    repeated = (ids * -(-length // len(ids)))[:length]
    return backbone.embed(torch.tensor(repeated, device=backbone.device))


def _from_labels(backbone: TextBackbone, task: Task, length: int, text: str, generator: torch.Generator) -> Tensor:
    if not task.labels:
        raise CuetuneError("init 'labels' needs a task with labels; use --init text.")
    words = answer_ids(backbone.tokenizer, task, task.label_words, control_tokens=True)
    rows = [backbone.embed(torch.tensor(ids, device=backbone.device)).mean(0) for ids in words][:length]
    rest = _from_vocabulary(backbone, task, length - len(rows), text, generator)
    return torch.cat([torch.stack(rows), rest])


def _from_vocabulary(backbone: TextBackbone, task: Task, length: int, text: str, generator: torch.Generator) -> Tensor:
    """Tokenizers number tokens roughly by frequency, so the first ids are the commonest; special ones are left out."""
    special = set(backbone.tokenizer.all_special_ids)
    size = backbone.embedding_table().shape[0]
    common = [token for token in range(min(size, COMMONEST + len(special))) if token not in special][:COMMONEST]
    order = torch.randperm(len(common), generator=generator)
    picked = [common[int(order[i % len(common)])] for i in range(length)]
    return backbone.embed(torch.tensor(picked, dtype=torch.long, device=backbone.device))


def _at_random(backbone: TextBackbone, task: Task, length: int, text: str, generator: torch.Generator) -> Tensor:
    rows = torch.randn(length, backbone.width, generator=generator)
    norm = typical_norm(backbone)
    return rows * norm / rows.norm(dim=1, keepdim=True)


def typical_norm(backbone: TextBackbone) -> float:
    """Mean norm of an embedding row, over an even sample of the vocabulary, as the model scales it."""
    size = backbone.embedding_table().shape[0]
    ids = torch.arange(0, size, max(1, size // COMMONEST), device=backbone.device)
    return float(backbone.embed(ids).float().norm(dim=1).mean())


INITS: dict[str, Callable[..., Any]] = {
    "text": _from_text,
    "labels": _from_labels,
    "vocabulary": _from_vocabulary,
    "random": _at_random,
}
