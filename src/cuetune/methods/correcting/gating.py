"""Where a fix acts: queries made comparable, rows put together, and for each group a key with its thresholds.

Nothing here is learned step by step. Keys of several rows each are all that is kept of the corrected rows' queries.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from cuetune.prompts.corrected import Space

SIZE, SHRINKAGE = 192, 0.1  # R, and how much of the mean variance is added to each before it is divided out
OWN_WEIGHT = 2.0  # of a corrected row's difference from the others, beside a written row's
MEMBERS = 5  # rows of one component
REACH = 0.6  # τ as a share of σ: how unlike the corrected rows a row may be that the fix still acts on


@dataclass(frozen=True)
class Gate:
    """What tells which rows a fix acts on: keys (M, R), reach (M, 2), and of each component the label of its rows."""

    space: Space
    keys: Tensor
    reach: Tensor
    labels: list[str]


def space_of(written: Tensor, own: Tensor) -> Space:
    """Where rows are compared, from queries of written rows (N, D) and of the corrected ones (n, D).

    μ is the mean of all. W divides out how rows differ in their R main directions: the written ones from each other,
    and, weighted more, the corrected ones from each other, in which rows of their kind are known to differ.
    """
    centre = torch.cat([written, own]).mean(dim=0)
    apart = torch.cat([written - written.mean(dim=0), OWN_WEIGHT**0.5 * (own - own.mean(dim=0))])
    _, singular, directions = torch.linalg.svd(apart, full_matrices=False)
    rank = max(1, min(SIZE, len(apart) - 2, apart.shape[1]))
    variance = singular[:rank].square() / len(apart)
    spread = (variance + SHRINKAGE * variance.mean()).sqrt().clamp_min(1e-6)
    return Space(centre, directions[:rank] / spread[:, None])


def gate_of(space: Space, own: Tensor, labels: Sequence[str], seed: int = 0) -> Gate:
    """Keys for queries (n, D) of rows that are corrected to these labels, five rows of one label to a key."""
    queries = F.normalize(space.of(own), dim=-1)
    generator = torch.Generator().manual_seed(seed)
    keys, reach, named = [], [], []
    for label in sorted(set(labels)):
        like = queries[[number for number, each in enumerate(labels) if each == label]]
        for members in _groups(like, generator):
            key = _key(like[members], generator)
            furthest = float((like[members] @ key).min())
            keys.append(key)
            reach.append([REACH * furthest, furthest])
            named.append(label)
    return Gate(space, torch.stack(keys), torch.tensor(reach), named)


def _key(members: Tensor, generator: torch.Generator) -> Tensor:
    """The direction (R,) that all members, (n, R) of length one, point into alike: K = Z⁺ 1.

    Where members are fewer than `MEMBERS`, random directions stand in for those that lack, so that no key is the query
    of one row.
    """
    lacking = max(0, min(MEMBERS, members.shape[1] // 2) - len(members))
    strangers = F.normalize(torch.randn(lacking, members.shape[1], generator=generator), dim=-1)
    whole = torch.cat([members, strangers])
    return F.normalize(torch.linalg.pinv(whole) @ torch.ones(len(whole)), dim=0)


def _groups(rows: Tensor, generator: torch.Generator, rounds: int = 15) -> Iterator[list[int]]:
    """Numbers of rows (n, R) of length one in groups of like rows and of about `MEMBERS` each (balanced k-means)."""
    n_groups = max(1, round(len(rows) / MEMBERS))
    most = -(-len(rows) // n_groups)
    centres = rows[torch.randperm(len(rows), generator=generator)[:n_groups]]
    groups: list[list[int]] = []
    for _ in range(rounds):
        groups = _assigned(rows @ centres.T, most)
        centres = F.normalize(torch.stack([rows[members].sum(dim=0) for members in groups]), dim=-1)
    yield from groups


def _assigned(similar: Tensor, most: int) -> list[list[int]]:
    """Each row (n, k) in the group it is most similar to that has room, the surest first."""
    groups: list[list[int]] = [[] for _ in range(similar.shape[1])]
    left = set(range(len(similar)))
    for place in similar.flatten().argsort(descending=True).tolist():
        row, group = divmod(place, similar.shape[1])
        if row in left and len(groups[group]) < most:
            groups[group].append(row)
            left.discard(row)
    return [sorted(members) for members in groups if members]
