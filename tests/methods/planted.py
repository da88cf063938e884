"""A tiny model with one planted word that makes the right label likely, and searches on it."""

from functools import cache

import torch

from cuetune.backbones.injection import Injection
from cuetune.backbones.text import TextBackbone
from cuetune.data.reading import read_rows
from cuetune.data.task import Task
from cuetune.data.templating import encode
from cuetune.methods.scoring import Scorer
from cuetune.methods.searching import SearchJob
from cuetune.prompts.words import BETWEEN, hard_prompt
from tiny import model, rows, tokenizer

TASK = Task(template="{text} =", labels=("pos", "neg"), instruction="a")
TRIGGER = tokenizer().convert_tokens_to_ids("Z")


def examples(n: int = 48, seed: int = 0):
    return [TASK.example(row) for row in read_rows(rows(n, seed))]


@cache
def planted() -> TextBackbone:
    """The embedding of the word "Z" is tuned so that one "Z" before a row makes its label likely."""
    bare = model("llama")
    frozen = TextBackbone(bare, tokenizer(), "planted")
    scorer = Scorer(frozen, TASK, 8)
    batch = scorer.render(examples(24))
    packed = scorer.readout.rows(batch, scorer.renderer.shared)
    tail = frozen.embed(torch.tensor(encode(frozen.tokenizer, [BETWEEN], control_tokens=True)[0]))
    word = frozen.embed(torch.tensor([TRIGGER])).clone().requires_grad_()
    optimizer = torch.optim.Adam([word], lr=0.2)
    for _ in range(40):
        optimizer.zero_grad()
        hidden = frozen.hidden(packed, Injection(tokens={0: torch.cat([word, tail])}))
        scorer.readout.row_losses(frozen, hidden, batch).mean().backward()
        optimizer.step()
    with torch.no_grad():
        bare.get_input_embeddings().weight[TRIGGER] = word[0]
    return TextBackbone(bare, tokenizer(), "planted")


def job(backbone: TextBackbone, task: Task = TASK, **more) -> SearchJob:
    start = hard_prompt(backbone, task)
    return SearchJob(backbone, task, examples(), examples(16, 1), start, log=lambda line: None, **more)


class StopAt:
    """A reporter that raises when a step has been made."""

    def __init__(self, step, error):
        self.at, self.error = step, error

    def start(self, total, done):
        pass

    def step(self, step, values):
        if step == self.at:
            raise self.error

    def validation(self, step, scores, best):
        pass

    def stop(self):
        pass


class KillError(BaseException):
    """Stands in for a kill: nothing catches it."""
