"""Splits of rows with several labels, and of numbers: balanced, decided by the seed, nothing on both sides."""

import itertools
import random
from collections import Counter

import pytest

from cuetune.data.labels.stratification import split_balanced
from cuetune.data.row import Example
from cuetune.data.task import Task

LABELS = ("common", "often", "rare", "single")


def make(n, seed=0):
    draw = random.Random(seed)
    rates = {"common": 0.6, "often": 0.3, "rare": 0.05}
    rows = [tuple(label for label, rate in rates.items() if draw.random() < rate) for _ in range(n)]
    rows[0] = (*rows[0], "single")
    return [Example(f"row {number}", {"text": f"text {number}"}, labels) for number, labels in enumerate(rows)]


def parts(splits):
    return {"train": splits.train, "validation": splits.validation, "test": splits.test}


@pytest.mark.parametrize("seed", range(3))
def test_every_part_has_its_share_of_every_label(seed):
    examples = make(400)
    made = parts(split_balanced(examples, seed=seed))
    assert sorted(each.where for part in made.values() for each in part) == sorted(each.where for each in examples)
    total = Counter(label for each in examples for label in each.label)
    for part, share in {"train": 0.7, "validation": 0.1, "test": 0.2}.items():
        counts = Counter(label for each in made[part] for label in each.label)
        assert len(made[part]) == pytest.approx(share * 400, abs=6)
        for label in ("common", "often", "rare"):
            assert counts[label] == pytest.approx(share * total[label], abs=4)
    assert any("single" in each.label for each in made["train"])


def test_a_random_split_would_not_be_as_even():
    """The oracle of the test before: what it asks is more than chance gives."""
    examples = make(400)
    rare = sum("rare" in each.label for each in examples)
    gaps = []
    for seed in range(20):
        drawn = random.Random(seed).sample(examples, 80)
        gaps.append(abs(sum("rare" in each.label for each in drawn) - 0.2 * rare))
    assert max(gaps) > 4 - 1


def test_the_seed_alone_decides():
    examples = make(60)
    assert split_balanced(examples, seed=1) == split_balanced(examples, seed=1)
    assert split_balanced(examples, seed=1).test != split_balanced(examples, seed=2).test


def test_copies_and_what_belongs_together_stay_on_one_side():
    examples = make(60)
    examples += [Example(f"copy {number}", {"text": f"TEXT {number}"}, ("often",)) for number in range(10)]
    voices = [f"voice {number % 7}" for number in [*range(60), *range(10)]]
    for together in (None, voices):
        made = parts(split_balanced(examples, together=together))
        assert all(made.values())
        for one, other in itertools.combinations(made.values(), 2):
            texts = [{each.fields["text"].lower() for each in part} for part in (one, other)]
            assert not texts[0] & texts[1]
            if together:
                of = dict(zip((each.where for each in examples), voices, strict=True))
                assert not {of[each.where] for each in one} & {of[each.where] for each in other}


@pytest.mark.parametrize("n", [1, 2, 3])
def test_a_few_rows_leave_some_to_tune_on(n):
    assert split_balanced(make(n), validation=0.3, test=0.6).train


def test_numbers_are_split_over_their_range():
    examples = [Example(f"row {n}", {"text": f"text {n}"}, float(n)) for n in range(200)]
    made = Task(kind="regression").answers.split(examples, seed=3)
    assert sorted(each.label for part in parts(made).values() for each in part) == [float(n) for n in range(200)]
    for tenth in range(10):
        inside = [each for each in made.test if 20 * tenth <= each.label < 20 * (tenth + 1)]
        assert len(inside) == 4  # a fifth of twenty
