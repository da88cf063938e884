"""Word error rate of transcripts, with its interval: the least words that must be put in, left out or changed."""

import re
from collections.abc import Sequence

import numpy as np

from cuetune.metrics.classification import RESAMPLES, Score

WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*", re.UNICODE)


def words_of(text: str) -> list[str]:
    """The words of a text in lower case, without punctuation; apostrophes within a word stay, of one form."""
    return [word.replace("’", "'") for word in WORD.findall(text.lower())]


def edits(said: Sequence[str], meant: Sequence[str]) -> int:
    """Levenshtein's distance: the fewest words to insert, delete or replace."""
    row = list(range(len(meant) + 1))
    for number, word in enumerate(said, start=1):
        before, row[0] = row[0], number
        for place, other in enumerate(meant, start=1):
            before, row[place] = row[place], min(row[place] + 1, row[place - 1] + 1, before + (word != other))
    return row[-1]


def word_error_rate(predicted: Sequence[str], truth: Sequence[str], seed: int = 0) -> dict[str, Score]:
    """Errors in all texts over the words in all truths, with a 95 % interval (percentile bootstrap over the texts)."""
    pairs = [(words_of(said), words_of(meant)) for said, meant in zip(predicted, truth, strict=True)]
    errors = np.array([edits(said, meant) for said, meant in pairs])
    words = np.array([len(meant) for _, meant in pairs])
    drawn = np.random.default_rng(seed).integers(len(pairs), size=(RESAMPLES, len(pairs)))
    rates = errors[drawn].sum(axis=1) / np.maximum(1, words[drawn].sum(axis=1))
    low, high = np.quantile(rates, [0.025, 0.975])
    return {"word_error_rate": Score(float(errors.sum() / max(1, words.sum())), float(low), float(high))}
