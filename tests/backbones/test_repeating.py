"""Texts that go round in circles end, and keep their phrase once; texts that only repeat a word do not."""

import pytest
import torch

from cuetune.backbones.repeating import LONGEST, going_round, said_once

PHRASE = [5, 6, 7, 8, 9]


@pytest.mark.parametrize(
    ("tokens", "once"),
    [
        ([1, 2, *PHRASE * 3], [1, 2, *PHRASE]),
        ([*PHRASE * 7], PHRASE),
        ([1, *[4] * 12], [1, 4]),
        ([1, *[4, 3] * 6], [1, 4, 3]),
    ],
)
def test_one_phrase_over_and_over_is_kept_once(tokens, once):
    assert going_round(torch.tensor([tokens])).tolist() == [True]
    assert said_once(tokens) == once


@pytest.mark.parametrize(
    "tokens",
    [
        [],
        [1, 2, 3],
        [1, *PHRASE * 2],  # said twice
        [1, 4, 4, 4, 4],  # "no, no, no, no"
        [*PHRASE * 3, 1],  # went on
        [1, *range(2, 2 + LONGEST + 1), *range(2, 2 + LONGEST + 1)],
    ],
)
def test_other_texts_stay_as_they_are(tokens):
    assert going_round(torch.tensor([tokens], dtype=torch.long)).tolist() == [False]
    assert said_once(tokens) == tokens


def test_rows_are_told_apart():
    rows = torch.tensor([[1, 2, *PHRASE * 3], list(range(17)), [9, 9, *PHRASE * 3]])
    assert going_round(rows).tolist() == [True, False, True]
