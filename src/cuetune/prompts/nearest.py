"""Nearest-neighbour demonstrations (KATE, Liu et al. 2021): every row is shown the solved examples most like it."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Any

import torch
from torch import Tensor

from cuetune.backbones.injection import Injection
from cuetune.backbones.sentences import DEFAULT, SentenceEncoder, nearest
from cuetune.backbones.text import TextBackbone
from cuetune.data.row import Example
from cuetune.data.task import Task
from cuetune.errors import CuetuneError
from cuetune.prompts.base import Before, Prompt
from cuetune.prompts.words import embedded, opening, solved

ITSELF = "backbone"  # the frozen model is its own sentence encoder
MOST = 20_000  # examples to choose from; of more, as many are drawn
SHORTEST = 8  # tokens that are left of a demonstration's text at least


@dataclass(frozen=True)
class Choice:
    """How demonstrations are chosen.

    k: how many a row gets, of `asked`; they are fewer where the model has no room for more, or where there are no more
    that differ. limit: tokens of text that each was cut to, 0 where all fit whole. encoder: name of the sentence
    encoder, "backbone" for the frozen model itself. encoder_hash: of its weights.
    """

    k: int
    asked: int
    limit: int
    encoder: str
    encoder_hash: str


class NearestPrompt(Prompt):
    """The instruction, which all rows share, and N solved examples, of which each row is shown the k nearest.

    ids: the instruction's P tokens. embeddings: their rows of the backbone's embedding table, (P, d).
    tokens: all demonstrations one after another, (T,); lengths: tokens of each, (N,).
    vectors: where the sentence encoder puts their texts, (N, d_enc) of length one.
    The nearest stands last, next to the row. Nothing is learned.
    """

    kind = "nearest"

    def __init__(
        self,
        ids: Sequence[int],
        embeddings: Tensor | None,
        tokens: Tensor,
        lengths: Tensor,
        vectors: Tensor,
        how: Choice,
    ) -> None:
        super().__init__()
        _check(tokens, lengths, vectors, how)
        self.ids, self.how = list(ids), how
        self.encoder: SentenceEncoder | None = None  # loaded when first needed; no part of what is saved
        self.embeddings: Tensor | None
        self.tokens: Tensor
        self.lengths: Tensor
        self.vectors: Tensor
        self.register_buffer("embeddings", None if embeddings is None or not self.ids else embeddings.detach().float())
        for name, part in (("tokens", tokens.int()), ("lengths", lengths.int()), ("vectors", vectors.float())):
            self.register_buffer(name, part.detach().clone())

    def injection(self) -> Injection:
        """The instruction alone."""
        return Injection() if self.embeddings is None else Injection(tokens={0: self.embeddings})

    def per_row(self, backbone: TextBackbone) -> Before:
        """The k demonstrations nearest to each row, the nearest last.

        An example that is asked about itself finds itself: keep rows that are scored out of the pool. Raises
        CuetuneError for another encoder or vocabulary than the demonstrations were made with.
        """
        if int(self.tokens.max()) >= len(backbone.embedding_table()):
            raise CuetuneError(f"demonstrations with tokens that {backbone.identity.name} lacks; load their own model.")
        encoder = self._encoder(backbone)
        ends = self.lengths.cumsum(0).tolist()
        starts = [0, *ends[:-1]]

        def before(examples: Sequence[Example]) -> list[list[int]]:
            _, numbers = nearest(encoder.encode(map(words_of, examples)), self.vectors, self.how.k)
            shown = [[self.tokens[starts[each] : ends[each]] for each in row] for row in numbers.flip(1).tolist()]
            return [torch.cat(row).tolist() for row in shown]

        return before

    def _encoder(self, backbone: TextBackbone) -> SentenceEncoder:
        if self.encoder is None:
            self.encoder = SentenceEncoder(backbone if self.how.encoder == ITSELF else self.how.encoder)
        if (self.encoder.identity.weights_hash, self.encoder.width) != (self.how.encoder_hash, self.vectors.shape[1]):
            raise CuetuneError(
                f"sentence encoder {self.how.encoder!r} is not the model that the demonstrations were encoded with; "
                "make the prompt again."
            )
        return self.encoder

    @property
    def length(self) -> int:
        """Positions before the text, for the rows whose demonstrations are the longest."""
        return len(self.ids) + int(self.lengths.topk(self.how.k).values.sum())

    @property
    def holds_examples(self) -> bool:
        return True

    def described(self) -> str:
        how = self.how
        finder = "the frozen model itself" if how.encoder == ITSELF else how.encoder
        fewer = f" (of {how.asked} asked for)" if how.k < how.asked else ""
        cut = f", texts cut to {how.limit} tokens" if how.limit else ""
        return (
            f"{len(self.ids)} tokens of instruction and for each row the {how.k} nearest{fewer} of "
            f"{len(self.lengths):,} demonstrations{cut}, found with {finder}"
        )

    def spec(self) -> dict[str, Any]:
        return {"ids": self.ids, **vars(self.how)}

    @classmethod
    def from_spec(cls, spec: dict[str, Any], tensors: dict[str, Tensor]) -> "NearestPrompt":
        how = Choice(**{name: value for name, value in spec.items() if name != "ids"})
        tokens, lengths, vectors = (tensors[name] for name in ("tokens", "lengths", "vectors"))
        return cls(spec["ids"], tensors.get("embeddings"), tokens, lengths, vectors, how)


def nearest_prompt(
    backbone: TextBackbone,
    task: Task,
    examples: Sequence[Example],
    k: int = 8,
    encoder: str | SentenceEncoder | None = None,
    seed: int = 0,
) -> NearestPrompt:
    """A prompt that shows each row the k of these labelled examples that are nearest to it.

    encoder: a `SentenceEncoder` or its name (None: multilingual-e5-small), or "backbone". seed: decides which 20,000
    are kept of more examples. Equal demonstrations are kept once.

    Instruction and demonstrations take at most half of the model's positions: where the k longest do not fit, every
    text is cut in the middle, and where fewer than 8 tokens would be left, k is lowered; `described()` tells. Raises
    CuetuneError where not even one fits, or for fewer than k examples.
    """
    if not 1 <= k <= len(examples):
        raise CuetuneError(
            f"{k} demonstrations a row asked for of {len(examples)} labelled rows; give --shots 1 or more."
        )
    pool = list(examples) if len(examples) <= MOST else random.Random(seed).sample(list(examples), MOST)
    ids = opening(backbone, task)
    shown, fit, limit = _fitting(backbone, task, pool, k, backbone.max_positions // 2 - len(ids))
    kept = sorted({tuple(tokens): number for number, tokens in enumerate(shown)}.values())
    if encoder is None or isinstance(encoder, str):
        name = encoder or DEFAULT
        encoder = SentenceEncoder(backbone if name == ITSELF else name)
    else:
        name = ITSELF if encoder.backbone is backbone else encoder.identity.name
    prompt = NearestPrompt(
        ids,
        embedded(backbone, ids),
        torch.tensor([token for number in kept for token in shown[number]]),
        torch.tensor([len(shown[number]) for number in kept]),
        encoder.encode(words_of(pool[number]) for number in kept),
        Choice(min(fit, len(kept)), k, limit, _public(name), encoder.identity.weights_hash),
    )
    prompt.encoder = encoder
    return prompt


def _check(tokens: Tensor, lengths: Tensor, vectors: Tensor, how: Choice) -> None:
    """What a damaged file may hold is refused here, before anything is counted with it."""
    whole = tokens.dim() == lengths.dim() == 1 and vectors.dim() == 2 and isinstance(how.encoder, str)
    if not whole or bool((tokens < 0).any()) or bool((lengths < 1).any()) or int(lengths.sum()) != len(tokens):
        raise CuetuneError("the tokens of demonstrations and their lengths do not fit together.")
    if not 1 <= how.k <= len(lengths) or len(vectors) != len(lengths):
        raise CuetuneError(f"{len(lengths)} demonstrations, {len(vectors)} vectors, {how.k} wanted for a row.")


def words_of(example: Example) -> str:
    """What the sentence encoder reads of an example: its fields, without template and answer."""
    return "\n".join(example.fields.values())


def _fitting(
    backbone: TextBackbone, task: Task, pool: Sequence[Example], k: int, room: int
) -> tuple[list[list[int]], int, int]:
    """Demonstrations of which the k longest take at most `room`; k, lowered if it must be; the limit of their texts."""
    shown = solved(backbone, task, pool)
    if sum(sorted(map(len, shown))[-k:]) <= room:
        return shown, k, 0
    around = max(map(len, solved(backbone, replace(task, max_tokens=1), pool)))  # template, answer, a token of text
    fit = min(k, room // (around - 1 + SHORTEST))
    if fit < 1:
        raise CuetuneError(
            f"a demonstration takes {around} tokens without its text, and the model has room for {room}; shorten the "
            "template, or take demonstrations with shorter answers."
        )
    limit = min(task.max_tokens, room // fit - (around - 1))
    return solved(backbone, replace(task, max_tokens=limit), pool), fit, limit


def _public(name: str) -> str:
    """A model's name without this machine's folders: they mean nothing elsewhere."""
    return PurePath(name).name if PurePath(name).is_absolute() else name
