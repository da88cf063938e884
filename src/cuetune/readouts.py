"""Readouts: from hidden states to an answer. A fixed set of labels is scored; generated text is written freely."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from cuetune.answer_tree import AnswerTree
from cuetune.backbones.packing import Rows
from cuetune.backbones.text import TextBackbone
from cuetune.backbones.tokens import surroundings
from cuetune.errors import CuetuneError
from cuetune.tasks.rendering import Rendered, encode
from cuetune.tasks.task import Task

READOUTS = ("auto", "words", "head")
POOLINGS = ("first", "last", "mean")
POSITIONS_AT_ONCE = 256  # full-vocabulary logits are made for this many positions at a time


class LabelReadout(ABC):
    """What every readout for labels can do: lay rows out, and score every label from the states that come back."""

    def __init__(self, task: Task) -> None:
        self.labels = task.labels
        self.index = {label: number for number, label in enumerate(task.labels)}

    @property
    @abstractmethod
    def n_answer(self) -> int:
        """Tokens that stand behind every row."""

    @abstractmethod
    def rows(self, rendered: Sequence[Rendered], shared: Sequence[int]) -> Rows:
        """Rendered rows as they go through the backbone, and which of their states are wanted."""

    @abstractmethod
    def scores(self, backbone: TextBackbone, hidden: Tensor) -> Tensor:
        """Scores (B, C) of the labels from the states that `rows` asked for; softmax over C gives probabilities."""

    def row_losses(self, backbone: TextBackbone, hidden: Tensor, rendered: Sequence[Rendered]) -> Tensor:
        """Cross-entropy over the labels for each row, (B,)."""
        targets = torch.tensor([self.index[str(row.label)] for row in rendered], device=hidden.device)
        return F.cross_entropy(self.scores(backbone, hidden), targets, reduction="none")


class LabelWords(LabelReadout):
    """Scores every label by the probability of its words, log Pr(word_1, …, word_m | row), of any number of tokens.

    A label of one token costs one row of the vocabulary at one position. Longer ones are put behind the row once, as
    a tree, and normalised over the whole vocabulary behind their first token. Where one label's tokens begin another's
    ("not" and "not sure"), every label is closed, so that both are complete answers: by a line end in a causal model, by
    the end token in a decoder.
    """

    def __init__(self, backbone: TextBackbone, task: Task) -> None:
        super().__init__(task)
        words = encode(backbone.tokenizer, list(task.label_words), control_tokens=True)
        self._refuse_unusable(task, words)
        if any(a is not b and b[: len(a)] == a for a in words for b in words):
            line_end = encode(backbone.tokenizer, ["\n"], control_tokens=True)[0]
            close = line_end if backbone.causal else [backbone.tokenizer.eos_token_id]
            words = [word + close for word in words]
        self.words = words
        self.tree = AnswerTree.of(words)
        self._tokens = torch.tensor(sorted({token for path in self.tree.paths for _, token in path}))
        place = {int(token): number for number, token in enumerate(self._tokens)}
        self._steps = [[(node, place[token]) for node, token in path] for path in self.tree.paths]

    @staticmethod
    def _refuse_unusable(task: Task, words: list[list[int]]) -> None:
        seen: dict[tuple[int, ...], str] = {}
        for label, word, ids in zip(task.labels, task.label_words, words, strict=True):
            if not ids:
                raise CuetuneError(f"label {label!r}: its word {word!r} has no token; give another with --label-words.")
            if tuple(ids) in seen:
                raise CuetuneError(
                    f"labels {seen[tuple(ids)]!r} and {label!r} have the same tokens for this model; "
                    "give different --label-words."
                )
            seen[tuple(ids)] = label

    @property
    def n_answer(self) -> int:
        return len(self.tree.ids)

    def rows(self, rendered: Sequence[Rendered], shared: Sequence[int]) -> Rows:
        """Pack rendered rows with the answer tree behind each; read the row's end and every node of the tree."""
        tree = self.tree.ids.tolist()
        ids = [token for row in rendered for token in row.ids + tree]
        lengths = [len(row.ids) + len(tree) for row in rendered]
        ends = torch.tensor(lengths).cumsum(0) - len(tree) - 1
        read = (ends[:, None] + torch.arange(len(tree) + 1)).flatten()
        branches = (self.tree.sees, self.tree.depth) if tree else (None, None)
        return Rows(torch.tensor(ids), lengths, read, torch.tensor(shared, dtype=torch.long), *branches)

    def scores(self, backbone: TextBackbone, hidden: Tensor) -> Tensor:
        """Log-scores (B, C) of the labels from the hidden states (B · (1 + R), d) that `rows` asked for.

        Up to the same constant per row these are log-probabilities: softmax over C gives Pr(label | one of the labels).
        """
        tokens = self._tokens.to(hidden.device)
        n_nodes = len(self.tree.ids)
        states = hidden.view(-1, 1 + n_nodes, hidden.shape[-1])
        logits = backbone.logits(states, tokens)  # (B, 1 + R, W)
        if n_nodes:
            logits = torch.cat([logits[:, :1], logits[:, 1:] - normaliser(backbone, states[:, 1:])[..., None]], dim=1)
        return torch.stack([sum_of(logits[:, node, token] for node, token in path) for path in self._steps], dim=1)


class MaskedWords(LabelWords):
    """Label words in an encoder: scored at the mask, by the model's own masked-language head. One token each.

    The mask stands where the template writes it ("It was [MASK]. {text}"), or else at the end of the row; the
    tokenizer's end token follows. What rows share is part of every row, because an encoder reads it with the row.
    """

    def __init__(self, backbone: TextBackbone, task: Task) -> None:
        tokenizer = backbone.tokenizer
        if not backbone.has_words or tokenizer.mask_token_id is None:
            missing = "masked-language head" if not backbone.has_words else "mask token"
            raise CuetuneError(f"{backbone.identity.name} has no {missing} to score words with; use --readout head.")
        super().__init__(backbone, task)
        self.mask = int(tokenizer.mask_token_id)
        for word, ids in zip(task.label_words, self.words, strict=True):
            if len(ids) > 1 or ids[0] == tokenizer.unk_token_id:
                found = f"{len(ids)} tokens" if len(ids) > 1 else "unknown"
                raise CuetuneError(
                    f"label word {word!r} is {found} for {backbone.identity.name}, and a mask holds one known token; "
                    "give another word with --label-words, or use --readout head."
                )
        masks = encode(tokenizer, [task.template], control_tokens=True)[0].count(self.mask)
        if masks > 1:
            raise CuetuneError(f"template {task.template!r} has {masks} masks; leave one, where the label stands.")
        self._behind = ([] if masks else [self.mask]) + surroundings(tokenizer)[1]

    @property
    def n_answer(self) -> int:
        return len(self._behind)

    def rows(self, rendered: Sequence[Rendered], shared: Sequence[int]) -> Rows:
        """Pack whole texts, beginning and end tokens included; read the mask of each."""
        whole = Rows.of([[*shared, *row.ids, *self._behind] for row in rendered])
        return replace(whole, read=torch.eq(whole.ids, self.mask).nonzero().squeeze(1))


class LinearHead(LabelReadout, nn.Module):
    """A trained classifier on one state of each row, W h + b with W (C, d) (P-tuning v2, Liu et al. 2022, section 3.3).

    pooling: h is the row's "first" state ([CLS]), its "last" one, or the "mean" over the row; by default what the
    backbone was made for (`TextBackbone.pooling`). States of the prompt are never read.
    W starts small and random, b at zero, both float32. Trained: `parameters()`; kept: `state_dict()`.
    """

    def __init__(self, backbone: TextBackbone, task: Task, pooling: str | None = None, seed: int = 0) -> None:
        nn.Module.__init__(self)
        LabelReadout.__init__(self, task)
        self.pooling = pooling or backbone.pooling
        if self.pooling not in POOLINGS:
            raise CuetuneError(f"unknown pooling {self.pooling!r}; choose one of {', '.join(POOLINGS)}.")
        if backbone.writes and self.pooling == "first":
            raise CuetuneError("the first state of a causal model has read nothing; pool the last one or the mean.")
        self._apart = backbone.writes  # what rows share is not part of them
        self._behind = [] if backbone.writes else surroundings(backbone.tokenizer)[1]
        start = torch.randn(len(task.labels), backbone.state_width, generator=torch.Generator().manual_seed(seed))
        self.weight = nn.Parameter((0.02 * start).to(backbone.device))
        self.bias = nn.Parameter(torch.zeros(len(task.labels), device=backbone.device))

    @property
    def n_answer(self) -> int:
        return len(self._behind)

    def rows(self, rendered: Sequence[Rendered], shared: Sequence[int]) -> Rows:
        """Pack rows, in an encoder as whole texts, beginning and end tokens included."""
        start, apart = ((), shared) if self._apart else (shared, ())
        whole = Rows.of([[*start, *row.ids, *self._behind] for row in rendered], apart)
        lengths = torch.tensor(whole.lengths)
        ends = lengths.cumsum(0)
        if self.pooling == "mean":
            return replace(whole, pool=torch.repeat_interleave(torch.arange(len(lengths)), lengths))
        return replace(whole, read=ends - 1 if self.pooling == "last" else ends - lengths)

    def scores(self, backbone: TextBackbone, hidden: Tensor) -> Tensor:
        """Logits (B, C) from the pooled states (B, d)."""
        return F.linear(hidden.float(), self.weight, self.bias)


class GeneratedText:
    """Answers that are written: trained on the target's tokens, each scored over the whole vocabulary.

    stop: what ends an answer; the target is followed by the tokenizer's end-of-sequence token.
    """

    def __init__(self, backbone: TextBackbone, task: Task, max_answer: int = 256) -> None:
        self.tokenizer = backbone.tokenizer
        self.task = task
        self.max_answer = max_answer
        self._end: int | None = backbone.tokenizer.eos_token_id

    @property
    def n_answer(self) -> int:
        return self.max_answer

    def answers(self, rendered: Sequence[Rendered]) -> list[list[int]]:
        """Target tokens of each row, a space in front as words stand in running text, the end token behind."""
        texts = encode(self.tokenizer, [" " + str(row.label).strip() for row in rendered], control_tokens=False)
        end = [] if self._end is None else [self._end]
        return [text[: self.max_answer - 1] + end for text in texts]

    def rows(self, rendered: Sequence[Rendered], shared: Sequence[int]) -> Rows:
        """Pack rows with their targets; read the positions that predict a target token."""
        answers = self.answers(rendered)
        whole = [row.ids + answer[:-1] for row, answer in zip(rendered, answers, strict=True)]
        read: list[int] = []
        start = 0
        for row, tokens in zip(rendered, whole, strict=True):
            read += range(start + len(row.ids) - 1, start + len(tokens))
            start += len(tokens)
        ids = torch.tensor([token for tokens in whole for token in tokens])
        return Rows(ids, [len(tokens) for tokens in whole], torch.tensor(read), torch.tensor(shared, dtype=torch.long))

    def row_losses(self, backbone: TextBackbone, hidden: Tensor, rendered: Sequence[Rendered]) -> Tensor:
        """Mean cross-entropy per target token for each row, (B,)."""
        answers = self.answers(rendered)
        targets = torch.tensor([token for answer in answers for token in answer], device=hidden.device)
        losses = in_chunks(
            lambda part, wanted: F.cross_entropy(backbone.logits(part), wanted, reduction="none"), hidden, targets
        )
        sizes = [len(answer) for answer in answers]
        return torch.stack([part.mean() for part in losses.split(sizes)])


Readout = LabelWords | LinearHead | GeneratedText


def readout_for(backbone: TextBackbone, task: Task, kind: str = "auto") -> Readout:
    """The readout that a task's answers need.

    kind: "words" (label words; at the mask in an encoder), "head" (a new `LinearHead`, to be trained), or "auto": words
    where the model can score them, else a head. Raises CuetuneError when backbone and task do not go together.
    """
    if kind not in READOUTS:
        raise CuetuneError(f"unknown readout {kind!r}; choose one of {', '.join(READOUTS)}.")
    if task.generates and (kind == "head" or not backbone.writes):
        reason = "a head needs labels" if backbone.writes else f"{backbone.identity.name} is an encoder, writes no text"
        raise CuetuneError(f"the task has no labels, and {reason}; name them with --labels, or use another readout.")
    if task.generates:
        return GeneratedText(backbone, task)
    if kind == "head" or (kind == "auto" and not backbone.has_words):
        return LinearHead(backbone, task)
    return LabelWords(backbone, task) if backbone.writes else MaskedWords(backbone, task)


def normaliser(backbone: TextBackbone, states: Tensor) -> Tensor:
    """log of the sum of exp(logits) over the whole vocabulary, (…, d) -> (…)."""
    flat = states.reshape(-1, states.shape[-1])
    return in_chunks(lambda part: backbone.logits(part).logsumexp(dim=-1), flat).view(states.shape[:-1])


def in_chunks(function: Any, *tensors: Tensor) -> Tensor:
    """Apply `function` to a few rows at a time and join the results; backward makes each chunk's logits again."""
    pieces = zip(*(tensor.split(POSITIONS_AT_ONCE) for tensor in tensors), strict=True)
    return torch.cat([checkpoint(function, *piece, use_reentrant=False) for piece in pieces])


def sum_of(parts: Any) -> Tensor:
    """Add tensors up, starting with the first and not with the number 0."""
    first, *rest = parts
    for part in rest:
        first = first + part
    return first
