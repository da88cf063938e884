"""Rows that the frozen model writes itself, for where no data may be kept (pseudo-rehearsal, Robins 1995)."""

import torch

from cuetune.backbones.generation import Writing, generate
from cuetune.backbones.injection import Injection
from cuetune.backbones.text import TextBackbone
from cuetune.backbones.tokens import surroundings
from cuetune.methods.vocabulary import words_of_vocabulary
from cuetune.prompts.initial import COMMONEST
from cuetune.prompts.words import opening
from cuetune.tasks.rendering import encode
from cuetune.tasks.task import FIELD, Example, Task

N_ROWS, LONGEST, AT_ONCE = 192, 32, 64  # rows, tokens of the longest, and how many are written side by side


def written_rows(backbone: TextBackbone, task: Task, n: int = N_ROWS, seed: int = 0) -> list[Example]:
    """Up to `n` examples without labels, sampled from the bare model behind the instruction and the template's words.

    They follow from model, task and seed alone, so they hold nothing of anyone's data. Each text begins with a common
    word drawn at random: a model that may begin as it likes mostly writes the same few things.
    """
    generator = torch.Generator().manual_seed(seed)
    fields = {name: _texts(backbone, task, before, n, generator) for name, before in _before(task).items()}
    rows = dict.fromkeys(zip(*fields.values(), strict=True))
    return [
        Example(f"written row {number + 1}", dict(zip(fields, row, strict=True)), None)
        for number, row in enumerate(rows)
    ]


def _before(task: Task) -> dict[str, str]:
    """The template's words right before each field."""
    parts = FIELD.split(task.template)
    return dict(zip(parts[1::2], parts[0::2], strict=False))


def _texts(backbone: TextBackbone, task: Task, before: str, n: int, generator: torch.Generator) -> list[str]:
    """`n` texts of one line each."""
    tokenizer = backbone.tokenizer
    context = surroundings(tokenizer)[0] + opening(backbone, task)
    context += encode(tokenizer, [before.rstrip(" ")], control_tokens=True)[0]
    words = words_of_vocabulary(backbone)[:COMMONEST]
    firsts = words[torch.randint(len(words), (n,), generator=generator)].tolist()
    texts: list[str] = []
    for start in range(0, n, AT_ONCE):
        own = firsts[start : start + AT_ONCE]
        seed = int(torch.randint(2**31, (1,), generator=generator))
        writing = Writing(max_tokens=LONGEST, temperature=1.0, top_p=0.9, stop=("\n",), seed=seed)
        written = generate(backbone, [[*context, first] for first in own], Injection(), writing)
        texts += [(tokenizer.decode([first]) + text).strip() for first, text in zip(own, written, strict=True)]
    return texts
