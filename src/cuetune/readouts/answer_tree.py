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
    paths: for each label the (node, next token) pairs that spell it, down to its last node.
    """

    ids: Tensor
    depth: Tensor
    sees: Tensor
    paths: tuple[tuple[tuple[int, int], ...], ...]

    @staticmethod
    def of(words: Sequence[Sequence[int]], *, whole: bool = False) -> "AnswerTree":
        """The tree down to the last token where words still differ; whole: down to the last token but one of each."""
        spelled = [tuple(word) for word in words]
        kept = {word[:end] for word in spelled for end in range(len(word))} if whole else _forked(spelled)
        nodes: dict[tuple[int, ...], int] = {(): 0}
        for word in spelled:
            for end in range(1, len(word)):
                if word[:end] in kept:
                    nodes.setdefault(word[:end], len(nodes))
        prefixes = [prefix for prefix in nodes if prefix]
        paths = tuple(
            tuple((nodes[word[:end]], word[end]) for end in range(len(word)) if word[:end] in nodes) for word in spelled
        )
        return AnswerTree(
            ids=torch.tensor([prefix[-1] for prefix in prefixes], dtype=torch.long),
            depth=torch.tensor([len(prefix) for prefix in prefixes], dtype=torch.long),
            sees=_ancestors([nodes[prefix[:-1]] - 1 for prefix in prefixes]),
            paths=paths,
        )

    @property
    def deepest(self) -> int:
        """How many of its tokens at most stand one behind the other."""
        return int(self.depth.max()) if len(self.depth) else 0


def _forked(words: Sequence[tuple[int, ...]]) -> set[tuple[int, ...]]:
    """The beginnings that words go on from in several ways, and all that lead to them."""
    following: dict[tuple[int, ...], set[int]] = {}
    for word in words:
        for end in range(len(word)):
            following.setdefault(word[:end], set()).add(word[end])
    forks = [prefix for prefix, tokens in following.items() if len(tokens) > 1]
    return {prefix[:end] for prefix in forks for end in range(len(prefix) + 1)}


def _ancestors(parents: Sequence[int]) -> Tensor:
    """(R, R) True where a node is, or descends from, another. parents: of each node, which come before it; -1 none."""
    sees = torch.eye(len(parents), dtype=torch.bool)
    for node, parent in enumerate(parents):
        if parent >= 0:
            sees[node] |= sees[parent]
    return sees
