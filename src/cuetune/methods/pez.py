"""PEZ (Wen et al., NeurIPS 2023, algorithm 1): words found by gradient, tuned by the common loop.

A continuous copy P of the prompt is moved by AdamW, but the model only ever reads P' = the vocabulary's rows nearest to
it: P <- AdamW(P, dL(P')/dP'). What is kept is P' at the best validation score.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from cuetune.backbones.batches import TokenBatch
from cuetune.backbones.injection import Injection
from cuetune.backbones.text import TextBackbone
from cuetune.errors import CuetuneError
from cuetune.methods.journal import Journal
from cuetune.methods.searching import Found, SearchJob, text_of
from cuetune.methods.vocabulary import survives, words_of_vocabulary, words_to_change
from cuetune.prompts.base import Prompt
from cuetune.prompts.hard import HardPrompt
from cuetune.tuning.loop import Tuner
from cuetune.tuning.objectives import Batch, Objective, cross_entropy
from cuetune.tuning.runs import TaskData
from cuetune.tuning.settings import Settings, embedding_rms

Size = Annotated[int, Field(ge=1)]


def pez(
    job: SearchJob,
    *,
    steps: Size = 200,
    batch_size: Size = 16,
    length: Size | None = None,
    rate: Annotated[float, Field(gt=0)] = 1.0,
    weight_decay: Annotated[float, Field(ge=0)] = 0.1,
    fluency: Annotated[float, Field(ge=0)] = 0.0,
    evaluate_every: Size = 10,
) -> Found:
    """Tune a `ProjectedPrompt` with the loop.

    length: words; else as many as the untouched prompt has. rate: the learning rate, in units of the embedding table's
    root mean square. fluency: weight of the words' own negative log-likelihood in the loss.
    """
    if fluency and not job.backbone.causal:
        raise CuetuneError("fluency needs a causal model; leave it at 0.")
    vocabulary = words_of_vocabulary(job.backbone)
    ids, tail = words_to_change(job.backbone, job.start.ids, length, vocabulary, job.seed)
    prompt = ProjectedPrompt(job.backbone, ids, tail, vocabulary)
    settings = Settings(
        length=len(ids),
        steps=steps,
        batch_size=batch_size,
        learning_rate=rate * embedding_rms(job.backbone),
        weight_decay=weight_decay,
        evaluate_every=evaluate_every,
        patience=steps,
        seed=job.seed,
    ).resolved(job.backbone, len(job.train), prompt)
    objectives: list[Objective] = [cross_entropy]
    if fluency:
        objectives.append(FluencyOfWords(fluency))
    tuner = Tuner(
        job.backbone,
        prompt,
        TaskData(job.task, job.train, job.validation),
        settings,
        folder=job.folder,
        objectives=objectives,
        data_key=f"{job.data_key} fluency {fluency}",
    )
    history = History(job.backbone, prompt, Journal(job.folder, tuner.key))
    tuner.reporters = [*job.reporters, history]
    progress = tuner.run().progress
    found = prompt.fold()
    again = survives(job.backbone, [found.ids[: len(ids)]])[0]
    return Found(
        found,
        history.journal.entries,
        steps=progress.step,
        tokens=progress.tokens,
        flops=tuner.flops(),
        seconds=progress.seconds,
        stopped=progress.stopped or "finished",
        note="" if again else "the text found is read back as other tokens; the tokens are what is saved and scored.",
    )


class Projection(torch.autograd.Function):
    """Forward P', backward as if it were P: the gradient is taken at the projected point and given to the copy."""

    @staticmethod
    def forward(ctx: Any, moved: Tensor, nearest: Tensor) -> Tensor:
        return nearest.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0], None


class ProjectedPrompt(Prompt):
    """A continuous copy (P, d) that is read as the words nearest to it by cosine; folds to the hard prompt of these.

    ids: the P tokens it starts as. tail: tokens behind them that stay. vocabulary: (W,) tokens that may be read.
    Not saved in this form.
    """

    def __init__(self, backbone: TextBackbone, ids: Sequence[int], tail: Sequence[int], vocabulary: Tensor) -> None:
        super().__init__()
        self._embed = backbone.embed
        self._tail = list(tail)
        self.embeddings = nn.Parameter(self._rows(ids).clone())
        words = vocabulary.to(backbone.device)
        self._vocabulary: Tensor
        self._directions: Tensor  # (W, d), of norm 1
        self.register_buffer("_vocabulary", words, persistent=False)
        directions = F.normalize(backbone.embedding_table()[words].float(), dim=1)
        self.register_buffer("_directions", directions, persistent=False)

    def _rows(self, ids: Sequence[int] | Tensor) -> Tensor:
        device = self._embed.__self__.device  # type: ignore[attr-defined]
        with torch.no_grad():
            return self._embed(torch.as_tensor(ids, dtype=torch.long, device=device)).float()

    @torch.no_grad()
    def nearest(self) -> Tensor:
        """(P,) the words nearest to the copy; cosine, so that the length of an embedding does not matter."""
        return self._vocabulary[(self.embeddings @ self._directions.T).argmax(dim=1)]

    def projected(self) -> Tensor:
        """(P, d) the rows of these words, differentiable in the copy as if they were it."""
        rows: Tensor = Projection.apply(self.embeddings, self._rows(self.nearest()))
        return rows

    def injection(self) -> Injection:
        return Injection(tokens={0: torch.cat([self.projected(), self._rows(self._tail)])})

    def fold(self) -> HardPrompt:
        ids = [*self.nearest().tolist(), *self._tail]
        return HardPrompt(ids, self._rows(ids))

    def spec(self) -> dict[str, Any]:
        return {"words": len(self.embeddings), "start": self.nearest().tolist(), "tail": self._tail}

    @classmethod
    def from_spec(cls, spec: dict[str, Any], tensors: dict[str, Tensor]) -> "Prompt":
        raise CuetuneError("what PEZ moves is not saved; the hard prompt that it folds to is.")


class FluencyOfWords(Objective):
    """weight · mean over i > 1 of -log Pr(word i | words before it), under the frozen model itself."""

    def __init__(self, weight: float) -> None:
        self.weight = weight

    def __call__(self, batch: Batch) -> Tensor:
        assert isinstance(batch.prompt, ProjectedPrompt)
        ids, rows = batch.prompt.nearest(), batch.prompt.projected()
        if len(ids) < 2:
            return rows.sum() * 0.0
        text = Injection(offsets=rows - rows.detach())  # adds nothing, but lets the gradient through
        hidden = batch.backbone.hidden(TokenBatch.of([ids.tolist()]), text)
        return self.weight * F.cross_entropy(batch.backbone.logits(hidden[:-1]), ids[1:])


class History:
    """A reporter that keeps the words and their scores at every validation."""

    def __init__(self, backbone: TextBackbone, prompt: ProjectedPrompt, journal: Journal) -> None:
        self.backbone, self.prompt, self.journal = backbone, prompt, journal

    def start(self, total: int, done: int) -> None:
        pass

    def step(self, step: int, values: Mapping[str, float]) -> None:
        pass

    def validation(self, step: int, scores: Mapping[str, float], best: bool) -> None:
        if any(entry["step"] == step for entry in self.journal.entries):
            return  # a stopped run that does these steps once more
        ids = self.prompt.nearest().tolist()
        self.journal.add({"step": step, "ids": ids, "text": text_of(self.backbone, ids), **scores})

    def stop(self) -> None:
        pass
