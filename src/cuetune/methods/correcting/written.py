"""Rows that the frozen model writes in the manner of a few given ones (pseudo-rehearsal, Robins 1995)."""

import random
from collections.abc import Iterator, Sequence

from cuetune.backbones.generation import Writing, generate
from cuetune.backbones.injection import Injection
from cuetune.backbones.text import TextBackbone
from cuetune.backbones.tokens import surroundings
from cuetune.data.row import Example
from cuetune.data.task import FIELD, Task
from cuetune.data.templating import encode
from cuetune.prompts.words import BETWEEN, opening

N_ROWS, LONGEST, AT_ONCE = 192, 32, 32  # rows, tokens of the longest, and how many are written side by side
SHOWN, SHOWN_TOKENS = 4, 64  # given rows that each of them is written behind, and how much of each


def written_rows(
    backbone: TextBackbone, task: Task, like: Sequence[Example], n: int = N_ROWS, seed: int = 0
) -> list[Example]:
    """Up to `n` examples without labels, sampled from the bare model behind some of `like`, with no prompt of ours.

    They stand in for rows of the same kind that nobody may keep: what is measured on them is used, then they are gone.
    """
    draw = random.Random(seed)
    fields = [list(_texts(backbone, task, name, like, n, draw)) for name in task.fields]
    rows = dict.fromkeys(row for row in zip(*fields, strict=True) if all(row))
    return [
        Example(f"written row {number + 1}", dict(zip(task.fields, row, strict=True)), None)
        for number, row in enumerate(rows)
    ]


def _texts(
    backbone: TextBackbone, task: Task, name: str, like: Sequence[Example], n: int, draw: random.Random
) -> Iterator[str]:
    """`n` texts of one line each for one field."""
    for start in range(0, n, AT_ONCE):
        shown = draw.sample(list(like), min(SHOWN, len(like)))
        context = _context(backbone, task, name, [example.fields[name] for example in shown])
        compiled = backbone.compile(Injection(), context[:-1])
        writing = Writing(LONGEST, temperature=1.0, top_p=0.95, stop=("\n",), seed=draw.randrange(2**31))
        rows = [context[-1:]] * min(AT_ONCE, n - start)
        yield from (text.strip() for text in generate(backbone, rows, compiled, writing))


def _context(backbone: TextBackbone, task: Task, name: str, texts: Sequence[str]) -> list[int]:
    """The instruction, the texts each behind the template's words for their field, and these words once more."""
    parts = FIELD.split(task.template)
    before = parts[parts.index(name, 1) - 1].rstrip(" ")
    words, between = encode(backbone.tokenizer, [before, BETWEEN], control_tokens=True)
    ids = surroundings(backbone.tokenizer)[0] + opening(backbone, task)
    for text in encode(backbone.tokenizer, [" " + text for text in texts], control_tokens=False):
        ids += [*words, *text[:SHOWN_TOKENS], *between]
    return ids + words
