"""Label words of several tokens as one tree: what several words begin with is read once."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


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
