"""Draws of training rows: nested, in the data's proportions, every label in them, decided by the seed."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from cuetune.data.row import Example
from cuetune.data.sampling import draw


def examples(counts):
    labels = [label for label, count in counts.items() for _ in range(count)]
    return [Example(f"row {number}", {"text": str(number)}, label) for number, label in enumerate(labels)]


@settings(deadline=None)  # a busy machine is no failure
@given(st.lists(st.integers(1, 30), min_size=2, max_size=5), st.integers(0, 5), st.data())
def test_draws_are_nested_whole_and_in_proportion(counts, seed, data):
    rows = examples({f"label {number}": count for number, count in enumerate(counts)})
    size = data.draw(st.integers(1, len(rows)))
    drawn = draw(rows, size, seed)
    assert len({row.where for row in drawn}) == size
    assert draw(rows, len(rows), seed)[:size] == drawn
    found = Counter(row.label for row in drawn)
    if size >= len(counts):
        assert len(found) == len(counts)
    for number, count in enumerate(counts):
        assert abs(found[f"label {number}"] - size * count / len(rows)) <= len(counts) + 1


def test_seeds_draw_different_rows_and_the_same_again():
    rows = examples({"pos": 50, "neg": 50})
    assert draw(rows, 20, 1) == draw(rows, 20, 1)
    assert {row.where for row in draw(rows, 20, 1)} != {row.where for row in draw(rows, 20, 2)}
