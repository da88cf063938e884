"""Greedy coordinate search for words (AutoPrompt, Shin et al. 2020, section 2.3; sampled as in GCG, Zou et al. 2023).

With e_i the embedding of the prompt's token i and L the loss on a batch, swapping token i for w changes the loss by
about (e_w - e_i) · dL/de_i. Each step samples swaps from the most promising ones, scores all of them on the batch in
one packed pass, and takes the best only where it also wins on rows that had no part in choosing it, by more than the
standard error of the difference.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from cuetune.backbones.injection import Injection
from cuetune.cost.meter import matrix_parameters
from cuetune.data.templating import InputRow
from cuetune.methods.journal import Journal
from cuetune.methods.scoring import Scorer, rank, validation_scores
from cuetune.methods.searching import Found, SearchJob, text_of
from cuetune.methods.vocabulary import survives, words_of_vocabulary, words_to_change
from cuetune.prompts.hard import HardPrompt
from cuetune.tuning.checkpoint import run_key

FINALISTS = 4  # of the candidates, scored again on fresh rows beside the prompt as it stands

Size = Annotated[int, Field(ge=1)]


def greedy(
    job: SearchJob,
    *,
    steps: Size = 30,
    batch_size: Size = 16,
    candidates: Size = 32,
    top: Size = 64,
    length: Size | None = None,
    evaluate_every: Size = 10,
) -> Found:
    """Swap words one at a time; the prompt keeps its length.

    candidates: swaps scored per step, of the `top` most promising tokens at every place. length: words to change; else
    those of the untouched prompt. Every `evaluate_every` steps the prompt is scored on the validation rows, and the
    best of these is returned. A stopped search goes on from its journal, to the same words.
    """
    options = {"batch_size": batch_size, "candidates": candidates, "top": top, "length": length}
    search = CoordinateSearch(job, batch_size, candidates, top, length)
    key = run_key(
        method="greedy",
        task=job.task.to_dict(),
        options={**options, "evaluate_every": evaluate_every, "steps": steps, "seed": job.seed, "start": job.start.ids},
        backbone=job.backbone.identity.to_dict(),
        data=job.data_key,
        dtype=str(job.backbone.dtype),
    )
    journal = Journal(job.folder, key)
    stopped = "finished"
    for reporter in job.reporters:
        reporter.start(steps, len(journal.entries))
    try:
        for step in range(len(journal.entries), steps):
            _one(job, search, journal, step, checked=(step + 1) % evaluate_every == 0 or step + 1 == steps)
    except KeyboardInterrupt:
        stopped = "interrupted"
    finally:
        for reporter in job.reporters:
            reporter.stop()
    return _found(job, search, journal.entries, stopped)


def _one(job: SearchJob, search: "CoordinateSearch", journal: Journal, step: int, *, checked: bool) -> None:
    """One step, its validation where one is due, and its entry."""
    before = _last(search, journal.entries)
    started, tokens, flops = time.perf_counter(), search.tokens, search.flops
    move = search.step(before["ids"], step)
    entry: dict[str, Any] = {
        "step": step + 1,
        "ids": move.ids,
        "text": text_of(job.backbone, move.ids),
        "loss": move.loss,
        "accepted": move.accepted,
        "tokens": before["tokens"] + search.tokens - tokens,
        "flops": before["flops"] + search.flops - flops,
        "seconds": before["seconds"] + time.perf_counter() - started,
    }
    for reporter in job.reporters:
        reporter.step(step + 1, {"loss": move.loss})
    if checked:
        entry["validation"] = validation_scores(job.backbone, job.task, search.prompt(move.ids), job.validation)
        best = max((rank(each["validation"]) for each in journal.entries if "validation" in each), default=None)
        for reporter in job.reporters:
            reporter.validation(step + 1, entry["validation"], best is None or rank(entry["validation"]) > best)
    journal.add(entry)


def _found(job: SearchJob, search: "CoordinateSearch", entries: Sequence[dict[str, Any]], stopped: str) -> Found:
    """The best validated words, or the latest where none were validated yet."""
    last = _last(search, entries)
    checked = [entry for entry in entries if "validation" in entry]
    best = max(checked, key=lambda entry: rank(entry["validation"])) if checked else last
    accepted = sum(entry["accepted"] for entry in entries)
    return Found(
        search.prompt(best["ids"]),
        list(entries),
        steps=len(entries),
        tokens=last["tokens"],
        flops=last["flops"],
        seconds=last["seconds"],
        stopped=stopped,
        note=f"{accepted} of {len(entries)} steps changed a word.",
    )


def _last(search: "CoordinateSearch", entries: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The latest step, or what stands before the first."""
    return entries[-1] if entries else {"ids": search.first, "seconds": 0.0, "flops": 0.0, "tokens": 0}


@dataclass(frozen=True)
class Move:
    """What a step came to: the prompt's tokens after it, and their mean loss on fresh rows.

    tried: the candidates, with the mean loss of each on the step's batch.
    """

    ids: list[int]
    loss: float
    accepted: bool
    tried: list[tuple[list[int], float]] = field(default_factory=list)


class CoordinateSearch:
    """The steps of a greedy search. What a step does follows from the prompt, its number and the seed alone."""

    def __init__(self, job: SearchJob, batch_size: int, candidates: int, top: int, length: int | None) -> None:
        self.backbone, self.seed = job.backbone, job.seed
        self.candidates = candidates
        self.vocabulary = words_of_vocabulary(job.backbone).to(job.backbone.device)
        self.first, self.tail = words_to_change(job.backbone, job.start.ids, length, self.vocabulary.cpu(), job.seed)
        self.top = min(top, len(self.vocabulary))
        self.scorer = Scorer(job.backbone, job.task, len(self.first) + len(self.tail))
        self.rows = self.scorer.render(job.train)
        self.batch_size = max(1, min(batch_size, len(self.rows) // 3))  # a batch and twice as many fresh rows
        self._backward_tokens = 0
        self._parameters = matrix_parameters(job.backbone)

    @property
    def tokens(self) -> int:
        """Tokens that went through the backbone so far."""
        return self.scorer.tokens + self._backward_tokens

    @property
    def flops(self) -> float:
        """2 per parameter and token forward, and 2 more backward; attention scores and validation are left out."""
        return self._parameters * (2.0 * self.scorer.tokens + 4.0 * self._backward_tokens)

    def prompt(self, ids: Sequence[int]) -> HardPrompt:
        """These words with what parts them from the row."""
        return HardPrompt([*ids, *self.tail], self._embedded([*ids, *self.tail]))

    def step(self, ids: list[int], number: int) -> Move:
        """One step from these tokens: a swap, or none where no candidate wins on fresh rows too."""
        rows, fresh = self.batches(number)
        tried = self.swaps(ids, self.gradient(ids, rows), number)
        if not tried:
            return Move(ids, self._losses([ids], fresh, ids).mean().item(), False)
        losses = self._losses(tried, rows, ids).mean(dim=1)
        finalists = [ids, *(tried[each] for each in losses.argsort(stable=True)[:FINALISTS].tolist())]
        again = self._losses(finalists, fresh, ids)  # (1 + finalists, fresh rows)
        best = int(again[1:].mean(dim=1).argmin()) + 1
        chosen = best if _wins(again[0] - again[best]) else 0
        tried_and_losses = list(zip(tried, losses.tolist(), strict=True))
        return Move(finalists[chosen], again[chosen].mean().item(), chosen > 0, tried_and_losses)

    def gradient(self, ids: Sequence[int], rows: Sequence[InputRow]) -> Tensor:
        """dL/de_i for each of the P tokens, (P, d) in float32, of the mean loss over the rows."""
        words = self._embedded([*ids, *self.tail]).float().requires_grad_()
        packed = self.scorer.readout.rows(rows, self.scorer.renderer.shared)
        self._backward_tokens += len(packed.ids) + len(packed.shared) + len(words)
        hidden = self.backbone.hidden(packed, Injection(tokens={0: words}))
        loss = self.scorer.readout.row_losses(self.backbone, hidden, rows).mean()
        return torch.autograd.grad(loss, words)[0][: len(ids)]

    def swaps(self, ids: list[int], gradient: Tensor, number: int) -> list[list[int]]:
        """Up to `candidates` prompts that differ from `ids` in one token, drawn from the `top` tokens of each place.

        Only such whose text is read back as the same tokens.
        """
        table = self.backbone.embedding_table()
        gain = -(table @ gradient.to(table.dtype).T).float()[self.vocabulary]  # (W, P) up to the model's scale
        best = self.vocabulary[gain.topk(self.top, dim=0).indices].T.tolist()  # (P, top)
        pairs = [(place, token) for place, tokens in enumerate(best) for token in tokens if token != ids[place]]
        order = torch.randperm(len(pairs), generator=self._generator(number)).tolist()
        kept: list[list[int]] = []
        for start in range(0, len(order), 2 * self.candidates):
            some = [pairs[each] for each in order[start : start + 2 * self.candidates]]
            made = [[*ids[:place], token, *ids[place + 1 :]] for place, token in some]
            kept += [each for each, fine in zip(made, survives(self.backbone, made), strict=True) if fine]
            if len(kept) >= self.candidates:
                break
        return kept[: self.candidates]

    def batches(self, number: int) -> tuple[list[InputRow], list[InputRow]]:
        """A step's rows: a batch to find candidates on, and twice as many that have no part in that."""
        order = torch.randperm(len(self.rows), generator=self._generator(number)).tolist()
        picked = [self.rows[each] for each in order[: 3 * self.batch_size]]
        return picked[: self.batch_size], picked[self.batch_size :] or picked

    def _generator(self, number: int) -> torch.Generator:
        return torch.Generator().manual_seed(self.seed * 1_000_003 + number)

    def _losses(self, prompts: Sequence[list[int]], rows: Sequence[InputRow], base: list[int]) -> Tensor:
        return self.scorer.losses([[*each, *self.tail] for each in prompts], rows, [*base, *self.tail])

    def _embedded(self, ids: Sequence[int]) -> Tensor:
        with torch.no_grad():
            return self.backbone.embed(torch.tensor(ids, dtype=torch.long, device=self.backbone.device))


def _wins(gains: Tensor) -> bool:
    """Whether a mean gain over these rows is more than its own standard error; a few rows can win by luck."""
    error = gains.std().item() / len(gains) ** 0.5 if len(gains) > 1 else 0.0
    return gains.mean().item() > error
