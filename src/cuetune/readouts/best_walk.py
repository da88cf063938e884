"""Label words in answering: the likeliest label alone, by a walk that reads only the branches that can still win."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from cuetune.backbones.batches import TokenBatch
from cuetune.backbones.groups import Past
from cuetune.backbones.injection import Injection
from cuetune.backbones.text import TextBackbone
from cuetune.data.templating import InputRow
from cuetune.readouts.words import LabelWords

WALK_FROM = 8  # tokens of a tree; a smaller one is read whole for less than further passes cost
CLOSE = math.log(0.5)  # branches half as likely as the likeliest are read in the same pass, so that passes are few


@dataclass(frozen=True)
class Fork:
    """A place in the tree where labels part.

    node: its number in the tree. ids: the tokens from the first fork down to this one. labels, forks: what each token
    that goes on from here leads to, as (place of the token in `LabelWords.tokens`, number of the label or fork).
    """

    node: int
    ids: tuple[int, ...]
    labels: tuple[tuple[int, int], ...]
    forks: tuple[tuple[int, int], ...]


@dataclass
class Reached:
    """How far the walk of one row is: its best label so far, and branches not read yet as (log Pr, fork)."""

    likely: float = -math.inf
    label: int = -1
    open: list[tuple[float, int]] = field(default_factory=list)

    def next_forks(self) -> list[tuple[float, int]]:
        """Take the likeliest branches that may hold a likelier label; none where the best label is found."""
        self.open = [branch for branch in self.open if branch[0] >= self.likely]
        top = max(self.open, default=(0.0, 0))[0]
        taken = [branch for branch in self.open if branch[0] >= top + CLOSE]
        self.open = [branch for branch in self.open if branch[0] < top + CLOSE]
        return taken

    def enter(self, fork: Fork, likely: float, among: Sequence[float]) -> None:
        """Go on from a fork of this log-probability; among: (W,) log-probabilities of the tokens there."""
        for place, label in fork.labels:
            found = likely + among[place]
            if (found, -label) > (self.likely, -self.label):
                self.likely, self.label = found, label
        self.open += [(likely + among[place], number) for place, number in fork.forks]


class BestWalk:
    """The likeliest label of each row and its probability, exactly as `LabelWords` gives them.

    No label behind a branch is likelier than the branch itself. So the row is read first, and then, behind its keys and
    values, only branches that are likelier than the best label so far: for a sure model one path of the tree.
    """

    def __init__(self, words: LabelWords) -> None:
        self.words = words
        self.forks, self.beginning = _forks(words)

    @staticmethod
    def pays(words: LabelWords, backbone: TextBackbone) -> bool:
        """Whether the model can go on from what it has read, and the tree is large enough."""
        return backbone.causal and backbone.compiles and len(words.tree.ids) >= WALK_FROM

    def answers(
        self, backbone: TextBackbone, rendered: Sequence[InputRow], injection: Injection
    ) -> list[tuple[int, float]]:
        """The number of each row's label, and its probability. injection: compiled, the same for all rows."""
        rows = _read_at_ends([[*row.ids, *self.beginning] for row in rendered])
        states, read = backbone.hidden_and_kv(rows, injection)
        lengths = torch.tensor(rows.lengths, device=states.device)
        walks = [Reached() for _ in rendered]
        found = [(row, 0.0, 0) for row in range(len(walks))]
        while found:
            self._enter(backbone, states, walks, found)
            found = [(row, *branch) for row, walk in enumerate(walks) for branch in walk.next_forks()]
            if found:
                past = Past(read, lengths, torch.tensor([row for row, _, _ in found], device=states.device))
                behind = _read_at_ends([self.forks[number].ids for _, _, number in found])
                states = backbone.hidden_behind(past, behind, injection)
        return [(walk.label, math.exp(walk.likely)) for walk in walks]

    def _enter(
        self, backbone: TextBackbone, states: Tensor, walks: list[Reached], found: list[tuple[int, float, int]]
    ) -> None:
        """Go on in each walk from the forks (row, log Pr, fork) whose states (P, d) were read."""
        nodes = torch.tensor([self.forks[number].node for _, _, number in found])
        logits = backbone.logits(states, self.words.tokens.to(states.device))  # (P, W)
        logits = logits.masked_fill(~self.words.follows[nodes].to(states.device), -torch.inf)
        among = logits.log_softmax(dim=-1).tolist()
        for (row, likely, number), each in zip(found, among, strict=True):
            walks[row].enter(self.forks[number], likely, each)


def _read_at_ends(rows: Sequence[Sequence[int]]) -> TokenBatch:
    """Rows of which the last token is read."""
    return replace(TokenBatch.of(rows), read=torch.tensor([len(row) for row in rows]).cumsum(0) - 1)


def _forks(words: LabelWords) -> tuple[list[Fork], list[int]]:
    """The forks of the tree, the first one first, and the tokens that all labels begin with."""
    follows: dict[int, dict[int, int]] = {}  # node -> place of a token -> the next node, or ~label
    for label, steps in enumerate(words.steps):
        following = [node for node, _ in steps[1:]] + [~label]
        for (node, place), then in zip(steps, following, strict=True):
            follows.setdefault(node, {})[place] = then
    tokens = words.tree.ids.tolist()

    def descend(node: int, ids: list[int]) -> tuple[int, list[int]]:
        """The first fork at or below a node, and the tokens down to it."""
        while len(follows[node]) == 1 and (then := next(iter(follows[node].values()))) >= 0:
            node, ids = then, [*ids, tokens[then - 1]]
        return node, ids

    first, beginning = descend(0, [])
    queue, forks = [(first, list[int]())], list[Fork]()
    for node, ids in queue:  # it grows on the way
        labels, inner = [], []
        for place, then in follows[node].items():
            if then < 0:
                labels.append((place, ~then))
            else:
                inner.append((place, len(queue)))
                queue.append(descend(then, [*ids, tokens[then - 1]]))
        forks.append(Fork(node, tuple(ids), tuple(labels), tuple(inner)))
    return forks, beginning
