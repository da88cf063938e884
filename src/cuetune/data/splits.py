"""Splits: stratified by label, decided by the seed alone, and the same text never on both sides."""

import hashlib
import json
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from cuetune.data.media.content_key import content_key
from cuetune.data.row import Example
from cuetune.errors import CuetuneError

Group = list[Example]  # examples that no split may part


@dataclass(frozen=True)
class Splits:
    """Labelled examples to tune on, to choose the best step on, and to report on."""

    train: list[Example]
    validation: list[Example]
    test: list[Example]


def text_key(example: Example) -> str:
    """An example's text without case and white space: what counts as the same text. Of other content, its hash."""
    return "\x1f".join(
        " ".join(value.lower().split()) if isinstance(value, str) else content_key(value)
        for value in example.fields.values()
    )


def split_examples(
    examples: Sequence[Example],
    *,
    validation: float = 0.1,
    test: float = 0.2,
    seed: int = 0,
    stratify: bool = True,
    together: Sequence[str] | None = None,
) -> Splits:
    """Set fractions of the examples aside, label by label. Copies of one text stay together, so none leaks.

    stratify=False is for free text, where every target is its own. together: for each example what it has in common
    with those that it must not be parted from (a speaker, a patient, an object); then fractions are of rows, as nearly
    as whole groups can be, and groups of several labels are dealt by themselves. A label's first group goes to `train`.
    Raises CuetuneError when nothing is left to tune on.
    """
    check_shares(validation, test)
    by_label: dict[str | None, list[Group]] = defaultdict(list)
    for group in inseparable(examples, together):
        whole = stratify and (together is None or len({example.label for example in group}) == 1)
        by_label[group[0].label if whole else None].append(group)
    parts: dict[str, list[Example]] = {"train": [], "validation": [], "test": []}
    for label, same in sorted(by_label.items(), key=lambda item: str(item[0])):
        random.Random(seed).shuffle(same)
        size: Callable[[Group], int] = len if together is not None else lambda group: 1
        few = label is None and together is not None  # a handful of speakers: no part goes without
        _deal(same, parts, {"test": test, "validation": validation}, size, few)
    for part in parts.values():
        random.Random(seed).shuffle(part)
    return Splits(parts["train"], parts["validation"], parts["test"])


def check_shares(validation: float, test: float) -> None:
    """Raise CuetuneError where these parts leave nothing to tune on."""
    if not 0 <= validation + test < 1:
        raise CuetuneError(
            f"validation {validation} and test {test} leave nothing to tune on; they must sum to less than 1."
        )


def inseparable(examples: Sequence[Example], together: Sequence[str] | None) -> list[Group]:
    """Groups that no split may part: copies of a text, examples that belong together, and what these have in common."""
    parents: dict[str, str] = {}

    def root(key: str) -> str:
        while (parent := parents.setdefault(key, key)) != key:
            parents[key] = parents[parent]  # halves the way for the next one who asks
            key = parent
        return key

    keys = [text_key(example) for example in examples]
    for key, said in zip(keys, together or (), strict=together is not None):
        parents[root(key)] = root(f"\x1e{said}")
    groups: dict[str, Group] = defaultdict(list)
    for key, example in zip(keys, examples, strict=True):
        groups[root(key)].append(example)
    return list(groups.values())


def first_of_each_label(rows: Sequence[Any], share: float) -> list[bool]:
    """Whether a row is in the first `share` of its label's, at least one, so that both parts have all labels.

    In order, not drawn: rows of one thing stand beside each other, and then fall into one part but for one thing.
    """
    return first_of_each([row.label for row in rows], share)


def first_of_each(strata: Sequence[Any], share: float) -> list[bool]:
    """The same by what stands for the label of each row."""
    counts, seen = Counter(strata), Counter[Any]()
    fits = []
    for each in strata:
        seen[each] += 1
        fits.append(seen[each] <= max(1, int(share * counts[each])))
    return fits


def _deal(
    groups: list[Group],
    parts: dict[str, list[Example]],
    shares: dict[str, float],
    size: Callable[[Group], int],
    few: bool,
) -> None:
    """Deal one label's groups: to each part what brings it nearest to its share, to train the rest, at least one.

    few: a part that is asked for gets a group however large that is, if there is another.
    """
    left, total = groups[::-1], sum(map(size, groups))
    for part, share in shares.items():
        target, taken, rest = round(total * share), 0, []
        for group in left[:-1]:
            if taken + size(group) / 2 <= target:
                parts[part] += group
                taken += size(group)
            else:
                rest.append(group)
        if few and share and not taken and rest:
            parts[part] += rest.pop(0)
        left = [*rest, left[-1]]
    for group in left:
        parts["train"] += group


def fingerprint(examples: Iterable[Example]) -> str:
    """SHA-256 of the multiset of texts and labels: the order of rows does not matter, any change of a row does."""
    total = 0
    for example in examples:
        fields = {name: each if isinstance(each, str) else content_key(each) for name, each in example.fields.items()}
        row = json.dumps([fields, example.label], sort_keys=True, ensure_ascii=False)
        total = (total + int.from_bytes(hashlib.sha256(row.encode()).digest(), "big")) % 2**256
    return total.to_bytes(32, "big").hex()
