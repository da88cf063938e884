"""Draws of training rows for learning curves: balanced as the data is, and each larger one holds the smaller."""

import random
from collections import defaultdict
from collections.abc import Sequence

from cuetune.tasks.task import Example


def draw(examples: Sequence[Example], size: int, seed: int) -> list[Example]:
    """`size` examples with every label once if there is room, then labels in the proportion that the data has.

    Draws of one seed are nested: the smaller is the beginning of the larger.
    """
    generator = random.Random(seed)
    by_label: dict[str | None, list[Example]] = defaultdict(list)
    for example in generator.sample(list(examples), len(examples)):
        by_label[example.label].append(example)
    placed = [
        ((number + generator.random()) / len(rows) if number else 0.0, example)
        for _, rows in sorted(by_label.items(), key=lambda item: str(item[0]))
        for number, example in enumerate(rows)
    ]
    return [example for _, example in sorted(placed, key=lambda pair: pair[0])][:size]
