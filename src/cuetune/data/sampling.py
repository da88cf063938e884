"""Draws of training rows for learning curves: balanced as the data is, and each larger one holds the smaller."""

import random
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from cuetune.data.row import Example
from cuetune.data.task import Task


def draw(examples: Sequence[Example], size: int, seed: int, task: Task | None = None) -> list[Example]:
    """`size` examples with every label once if there is room, then labels in the proportion that the data has.

    task: says what stands for the label where a row has several, or a number (`Answers.strata`).
    Draws of one seed are nested: the smaller is the beginning of the larger.
    """
    generator = random.Random(seed)
    targets = [example.label for example in examples]
    strata = task.answers.strata(targets) if task else targets
    by_label: dict[Any, list[Example]] = defaultdict(list)
    for number in generator.sample(range(len(examples)), len(examples)):
        by_label[strata[number]].append(examples[number])
    placed = [
        ((number + generator.random()) / len(rows) if number else 0.0, example)
        for _, rows in sorted(by_label.items(), key=lambda item: str(item[0]))
        for number, example in enumerate(rows)
    ]
    return [example for _, example in sorted(placed, key=lambda pair: pair[0])][:size]
