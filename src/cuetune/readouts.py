"""Readouts: from hidden states to an answer. Label words score a fixed set of labels; generated text writes freely."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from cuetune.backbones.packing import Rows
from cuetune.backbones.text import TextBackbone
from cuetune.errors import CuetuneError
from cuetune.tasks.rendering import Rendered, encode
from cuetune.tasks.task import Task

POSITIONS_AT_ONCE = 256  # full-vocabulary logits are made for this many positions at a time


@dataclass(frozen=True)
class AnswerTree:
    """The label words as a tree of tokens: words with a common beginning share it, and no branch sees another.

    Node 0 is the end of the row; node i > 0 is one token of the R that are put behind every row.
    ids, depth: (R,). sees: (R, R) True where node i + 1 descends from, or is, node j + 1.
    paths: for each label the (node, next token) pairs that spell it.
    """

    ids: Tensor
    depth: Tensor
    sees: Tensor
    paths: tuple[tuple[tuple[int, int], ...], ...]

    @staticmethod
    def of(words: Sequence[Sequence[int]]) -> "AnswerTree":
        nodes: dict[tuple[int, ...], int] = {(): 0}
        for word in words:
            for end in range(1, len(word)):
                nodes.setdefault(tuple(word[:end]), len(nodes))
        prefixes = [prefix for prefix in nodes if prefix]
        sees = [[mine[: len(other)] == other for other in prefixes] for mine in prefixes]
        paths = tuple(tuple((nodes[tuple(word[:i])], word[i]) for i in range(len(word))) for word in words)
        return AnswerTree(
            ids=torch.tensor([prefix[-1] for prefix in prefixes], dtype=torch.long),
            depth=torch.tensor([len(prefix) for prefix in prefixes], dtype=torch.long),
            sees=torch.tensor(sees, dtype=torch.bool).view(len(prefixes), len(prefixes)),
            paths=paths,
        )


class LabelWords:
    """Scores every label by the probability of its words, log Pr(word_1, …, word_m | row), of any number of tokens.

    A label of one token costs one row of the vocabulary at one position. Longer ones are put behind the row once, as
    a tree, and normalised over the whole vocabulary behind their first token. Where one label's tokens begin another's
    ("not" and "not sure"), every label is closed by a line end, so that both are complete answers.
    """

    def __init__(self, backbone: TextBackbone, task: Task) -> None:
        self.labels = task.labels
        self.index = {label: number for number, label in enumerate(task.labels)}
        words = encode(backbone.tokenizer, list(task.label_words), control_tokens=True)
        self._refuse_unusable(task, words)
        if any(a is not b and b[: len(a)] == a for a in words for b in words):
            close = encode(backbone.tokenizer, ["\n"], control_tokens=True)[0]
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
        """Tokens that stand behind every row."""
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
        states = hidden.view(-1, 1 + self.n_answer, hidden.shape[-1])
        logits = backbone.logits(states, tokens)  # (B, 1 + R, W)
        if self.n_answer:
            logits = torch.cat([logits[:, :1], logits[:, 1:] - normaliser(backbone, states[:, 1:])[..., None]], dim=1)
        return torch.stack([sum_of(logits[:, node, token] for node, token in path) for path in self._steps], dim=1)

    def row_losses(self, backbone: TextBackbone, hidden: Tensor, rendered: Sequence[Rendered]) -> Tensor:
        """Cross-entropy over the labels for each row, (B,)."""
        targets = torch.tensor([self.index[str(row.label)] for row in rendered], device=hidden.device)
        return F.cross_entropy(self.scores(backbone, hidden), targets, reduction="none")


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


Readout = LabelWords | GeneratedText


def readout_for(backbone: TextBackbone, task: Task) -> Readout:
    """The readout that a task's answers need."""
    return GeneratedText(backbone, task) if task.generates else LabelWords(backbone, task)


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
