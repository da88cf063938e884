"""Splits of rows with several labels: each part gets its share of every label (iterative stratification).

Sechidis, Tsoumakas and Vlahavas (2011), "On the Stratification of Multi-Label Data", ECML PKDD, algorithm 1; rows that
must stay together are dealt as one.
"""

import random
from collections.abc import Iterable, Sequence
from typing import Any

from cuetune.data.row import Example
from cuetune.data.splits import Group, Splits, check_shares, inseparable

PARTS = ("train", "validation", "test")  # the first of equals gets a row: training rows come first


def split_balanced(
    examples: Sequence[Example],
    *,
    validation: float = 0.1,
    test: float = 0.2,
    seed: int = 0,
    together: Sequence[str] | None = None,
) -> Splits:
    """Set fractions of the examples aside, every label in its share; arguments as of `split_examples`.

    A label's first row goes to `train`, and so does at least one row of all.
    """
    check_shares(validation, test)
    groups = inseparable(examples, together)
    random.Random(seed).shuffle(groups)
    shares = {"train": 1 - validation - test, "validation": validation, "test": test}
    dealt = _Deal(groups, {part: share for part, share in shares.items() if share > 0})
    dealt.run()
    dealt.fill_empty(dealt.parts if together is not None else ["train"])
    parts = {part: [example for group in dealt.parts.get(part, []) for example in group] for part in PARTS}
    for part in parts.values():
        random.Random(seed).shuffle(part)
    return Splits(parts["train"], parts["validation"], parts["test"])


class _Deal:
    """Groups dealt to parts. wanted: part -> label -> rows that it still wants; the key None counts all rows."""

    def __init__(self, groups: list[Group], shares: dict[str, float]) -> None:
        self.groups = groups
        self.counts = [_counts(group) for group in groups]
        self.parts: dict[str, list[Group]] = {part: [] for part in shares}
        total: dict[Any, float] = {}
        for counts in self.counts:
            for label, rows in counts.items():
                total[label] = total.get(label, 0) + rows
        self.wanted = {part: {label: share * rows for label, rows in total.items()} for part, share in shares.items()}
        self.holders: dict[Any, list[int]] = {}
        for number, counts in enumerate(self.counts):
            for label in counts:
                self.holders.setdefault(label, []).append(number)
        self.left = {label: rows for label, rows in total.items() if label is not None}
        self.dealt = [False] * len(groups)

    def run(self) -> None:
        """The rarest label's groups first, then those of the rarest that is left, …; groups without labels last."""
        while self.left:
            label = min(self.left, key=lambda each: (self.left[each], each))
            self._deal(label)
            self.left.pop(label, None)
        self._deal(None)

    def _deal(self, label: Any) -> None:
        for number in self.holders.get(label, []):
            if not self.dealt[number]:
                self._give(number, self._neediest(label))

    def _neediest(self, label: Any) -> str:
        """The part that wants most rows of this label; of equals the one that wants most rows, then the first."""
        return max(self.parts, key=lambda part: (self.wanted[part][label], self.wanted[part][None]))

    def _give(self, number: int, part: str) -> None:
        self.parts[part].append(self.groups[number])
        self.dealt[number] = True
        for label, rows in self.counts[number].items():
            self.wanted[part][label] -= rows
            if label in self.left:
                self.left[label] -= rows

    def fill_empty(self, parts: Iterable[str]) -> None:
        """None of these parts goes without a group, as long as another has two; of one group alone train has it."""
        for part in parts:
            fullest = max(self.parts.values(), key=len)
            if not self.parts[part] and len(fullest) > (part != "train"):
                self.parts[part].append(fullest.pop(min(range(len(fullest)), key=lambda place: len(fullest[place]))))


def _counts(group: Group) -> dict[Any, int]:
    """Rows of a group by label, and all of them under None."""
    found: dict[Any, int] = {None: len(group)}
    for example in group:
        for label in example.label:
            found[label] = found.get(label, 0) + 1
    return found
