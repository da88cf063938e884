"""What hard prompts are worth on labelled rows: many prompts on the same rows in one packed pass, and validation."""

from collections.abc import Sequence

import torch
from torch import Tensor

from cuetune.backbones.batches import TokenBatch
from cuetune.backbones.injection import Injection
from cuetune.backbones.text import TextBackbone
from cuetune.data.row import Example
from cuetune.data.task import Task
from cuetune.data.templating import InputRow
from cuetune.errors import CuetuneError
from cuetune.metrics.classification import negative_log_likelihood
from cuetune.prediction.text import Predictor, renderer_for
from cuetune.prompts.base import Prompt
from cuetune.readouts import LabelReadout, LinearHead, readout_for

TOKENS_AT_ONCE = 16_384  # in one packed pass


class Scorer:
    """Losses of many hard prompts (token ids) on the same rows; counts the tokens that it runs.

    longest: tokens of the longest prompt that will be scored. On a causal model nothing is computed twice: what a
    prompt has in common with `base` comes from keys and values that were compiled once, the rest of it passes through
    the model once for all rows, and no token is padding. Raises CuetuneError for a backbone that cannot score words.
    """

    def __init__(self, backbone: TextBackbone, task: Task, longest: int) -> None:
        self.backbone = backbone
        readout = readout_for(backbone, task)
        if isinstance(readout, LinearHead):
            raise CuetuneError(
                f"{backbone.identity.name} cannot score words, and a search has no head to train; choose another model."
            )
        self.readout = readout.for_training()
        self.renderer = renderer_for(backbone, task, longest + readout.n_answer)
        self.tokens = 0
        self._base: tuple[list[int], Injection] = ([], Injection())

    def render(self, examples: Sequence[Example]) -> list[InputRow]:
        return list(self.renderer.render(examples))

    @torch.no_grad()
    def losses(self, prompts: Sequence[Sequence[int]], rows: Sequence[InputRow], base: Sequence[int] = ()) -> Tensor:
        """(M, B) the loss of each prompt on each row, on the CPU. base: a prompt that the others are variations of."""
        self._compile(list(base))
        packed = self.readout.rows(rows, self.renderer.shared)
        size = len(packed.ids) + len(packed.shared)
        at_once = max(1, TOKENS_AT_ONCE // size)
        scored = []
        for start in range(0, len(prompts), at_once):
            parts = [self._part(list(prompt), rows) for prompt in prompts[start : start + at_once]]
            self.tokens += sum(len(part.ids) + len(part.shared) + added.n_tokens for part, added in parts)
            for hidden in self.backbone.hidden_mixed(parts):
                scored.append(self.readout.row_losses(self.backbone, hidden, rows).float().cpu())
        return torch.stack(scored)

    def _compile(self, base: list[int]) -> None:
        """Keys and values of `base`, kept until another base is given."""
        if not self.backbone.causal or base == self._base[0]:
            return
        injection = Injection(tokens={0: self._embedded(base)}) if base else Injection()
        self._base = (base, self.backbone.compile(injection))
        self.tokens += len(base)

    def _part(self, prompt: list[int], rows: Sequence[InputRow]) -> tuple[TokenBatch, Injection]:
        """The rows behind one prompt: what it begins with as keys and values, the rest as text that all rows share."""
        if not self.backbone.causal:
            injection = Injection(tokens={0: self._embedded(prompt)}) if prompt else Injection()
            return self.readout.rows(rows, self.renderer.shared), injection
        ids, compiled = self._base
        same = common(ids, prompt)
        kv = (
            {layer: (keys[:, :same], values[:, :same]) for layer, (keys, values) in compiled.kv.items()} if same else {}
        )
        return self.readout.rows(rows, [*prompt[same:], *self.renderer.shared]), Injection(kv=kv)

    def _embedded(self, ids: Sequence[int]) -> Tensor:
        return self.backbone.embed(torch.tensor(ids, dtype=torch.long, device=self.backbone.device))


def common(first: Sequence[int], second: Sequence[int]) -> int:
    """How many tokens two prompts have in common at their beginning."""
    pairs = zip(first, second, strict=False)
    return next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(first), len(second)))


def validation_scores(
    backbone: TextBackbone, task: Task, prompt: Prompt, examples: Sequence[Example], most: int = 256
) -> dict[str, float]:
    """Loss and, for labels, accuracy on the first `most` examples."""
    chosen = list(examples)[:most]
    readout = readout_for(backbone, task)
    if not isinstance(readout, LabelReadout):
        return {"loss": _written_loss(backbone, task, prompt, chosen)}
    predictions = list(Predictor(backbone, task, prompt).predict(chosen))
    truth = [readout.index[str(example.label)] for example in chosen]
    right = sum(p.label == e.label for p, e in zip(predictions, chosen, strict=True))
    loss = negative_log_likelihood([p.probabilities for p in predictions], truth)
    return {"accuracy": right / len(chosen), "loss": loss}


@torch.no_grad()
def _written_loss(backbone: TextBackbone, task: Task, prompt: Prompt, examples: Sequence[Example]) -> float:
    readout = readout_for(backbone, task)
    renderer = renderer_for(backbone, task, prompt.length + readout.n_answer)
    rows, total = list(renderer.render(examples)), 0.0
    for start in range(0, len(rows), 16):
        batch = rows[start : start + 16]
        hidden = backbone.hidden(readout.rows(batch, renderer.shared), prompt.injection())
        total += float(readout.row_losses(backbone, hidden, batch).sum())
    return total / len(rows)


def rank(scores: dict[str, float]) -> tuple[float, float]:
    """Scores as something to compare: accuracy first, then the lower loss; as the training loop does."""
    return scores.get("accuracy", 0.0), -scores["loss"]
