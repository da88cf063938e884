"""Which prompts of a library a new task could start from, and what to expect of each (SPoT, Vu et al., ACL 2022)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from cuetune.backbones.text import TextBackbone
from cuetune.errors import CuetuneError
from cuetune.library.collection import PromptLibrary
from cuetune.library.tuned import TunedPrompt
from cuetune.prompts import Prompt, SoftPrompt
from cuetune.tuning.runs import TextRun
from cuetune.tuning.task_embedding import read_embedding, virtual_tokens

RANKINGS = ("loss", "similarity")


@dataclass(frozen=True)
class Candidate:
    """A prompt that a task can start from: its virtual tokens (P, d), its task embedding (d,) if it was kept."""

    name: str
    digest: str
    tokens: Tensor
    embedding: Tensor | None = None


@dataclass
class Proposal:
    """A candidate as seen from the new task.

    similarity: cosine of the task embeddings, None where one has none. at_start: scores on the rows to learn from,
    before any step; gain: how much lower the loss is there than from words. measured: scores after tuning.
    """

    candidate: Candidate
    similarity: float | None
    at_start: Mapping[str, float]
    gain: float
    measured: dict[str, float] = field(default_factory=dict)


def check_ranking(rank_by: str) -> None:
    """Raise CuetuneError for a ranking that there is not."""
    if rank_by not in RANKINGS:
        raise CuetuneError(f"unknown ranking {rank_by!r}; choose one of {', '.join(RANKINGS)}.")


def candidates(library: PromptLibrary, backbone: TextBackbone) -> list[Candidate]:
    """The newest version of every prompt in the library that stands at the embedding layer of this backbone.

    Raises CuetuneError where there is none.
    """
    newest = {entry.name: entry for entry in reversed(library.entries())}
    found = []
    for name, entry in sorted(newest.items()):
        if not backbone.identity.has_weights(entry.weights_hash):
            continue
        if (candidate := candidate_of(name, entry.digest, library.get(name, entry.version))) is not None:
            found.append(candidate)
    if not found:
        raise CuetuneError(
            f"{library.storage.shown}: no prompt there stands at the embedding layer of {backbone.identity.name}; add "
            "some with `cuetune library add`."
        )
    return found


def candidate_of(name: str, digest: str, tuned: TunedPrompt) -> Candidate | None:
    """A saved prompt as a candidate, None where it is more or less than virtual tokens at the embedding layer."""
    if len(tuned.prompt.members) > 1 or tuned.prompt.reads_rows:
        return None
    injection = tuned.prompt.injection()
    tokens = virtual_tokens(tuned.prompt)
    if tokens is None or len(injection.tokens) > 1 or injection.kv or injection.offsets is not None:
        return None
    text = tuned.record.get("task_embedding", "")
    return Candidate(name, digest, tokens, read_embedding(text, name) if text else None)


def propose(
    run: TextRun, found: Sequence[Candidate], words: Prompt, embedding: Tensor | None, *, rank_by: str = "loss"
) -> list[Proposal]:
    """The candidates, the most promising first.

    run: the new task, its validation rows being those to learn from. words: what it would start from otherwise.
    embedding: of the new task. rank_by: "loss" (the loss before any step) or "similarity" (SPoT's sim_avg).
    """
    plain = run.scores(words)
    made = []
    for candidate in found:
        scores = run.scores(SoftPrompt(candidate.tokens).to(run.backbone.device))
        made.append(Proposal(candidate, _similarity(candidate, embedding), scores, plain["loss"] - scores["loss"]))
    if rank_by == "similarity":
        return sorted(made, key=lambda each: -2.0 if each.similarity is None else each.similarity, reverse=True)
    return sorted(made, key=lambda each: each.gain, reverse=True)


def _similarity(candidate: Candidate, embedding: Tensor | None) -> float | None:
    if candidate.embedding is None or embedding is None:
        return None
    return float(F.cosine_similarity(candidate.embedding, embedding, dim=0))


def weighted_average(proposals: Sequence[Proposal]) -> Tensor:
    """(P, d) sum of a_r P_r with a_r = sim_r / sum of sim: SPoT's mean of the most similar, those unlike left out.

    Prompts are taken as long as the shortest. Where none is similar, or similarities are not known, all count alike.
    """
    weights = torch.tensor([max(each.similarity or 0.0, 0.0) for each in proposals])
    if not weights.sum():
        weights = torch.ones(len(proposals))
    length = min(len(each.candidate.tokens) for each in proposals)
    tokens = torch.stack([each.candidate.tokens[:length] for each in proposals])
    return (weights / weights.sum())[:, None, None].mul(tokens).sum(0)
