"""Label mapping by frequency: the greedy choice as a brute force makes it, and what follows from it."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cuetune.errors import CuetuneError
from cuetune.readouts.class_mapping import ClassMapping


def brute_force(said, labels, n_classes, n_labels):
    """Sort all pairs by how often they occur; take each whose class and label are both free."""
    pairs = [(source, label) for source in range(n_classes) for label in range(n_labels)]
    often = {pair: sum(seen == pair for seen in zip(said, labels, strict=True)) for pair in pairs}
    chosen = {}
    for source, label in sorted(pairs, key=lambda pair: (-often[pair], pair)):
        if label not in chosen and source not in chosen.values():
            chosen[label] = source
    return [chosen[label] for label in range(n_labels)]


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3)), max_size=40))
def test_the_greedy_choice_equals_a_brute_force(pairs):
    said, labels = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    made = ClassMapping.by_frequency(torch.tensor(said).long(), torch.tensor(labels).long(), 6, 4)
    assert made.sources.tolist() == brute_force(said, labels, 6, 4)
    assert len(set(made.sources.tolist())) == 4


def test_scores_are_those_of_the_chosen_classes():
    logits, made = torch.randn(5, 10), ClassMapping.at_random(10, 3, seed=1)
    assert torch.equal(made.scores(logits), logits[:, made.sources])
    assert len(set(made.sources.tolist())) == 3


def test_a_model_that_knows_the_labels_is_mapped_to_them():
    order = torch.randperm(8)
    labels = torch.arange(5).repeat(9)
    made = ClassMapping.by_frequency(order[labels], labels, 8, 5)
    assert torch.equal(made.sources, order[:5])


def test_more_labels_than_classes_are_refused():
    with pytest.raises(CuetuneError, match="5 labels, but the model has 4 classes"):
        ClassMapping.by_frequency(torch.tensor([0]), torch.tensor([0]), 4, 5)
    with pytest.raises(CuetuneError, match="train a head"):
        ClassMapping.at_random(4, 5)
