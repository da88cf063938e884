"""Word error rate against brute force and its own bounds."""

from functools import cache

from hypothesis import given
from hypothesis import strategies as st

from cuetune.metrics.word_error_rate import edits, word_error_rate, words_of

words = st.lists(st.sampled_from("abc"), max_size=6)


def brute_force(said, meant):
    """The distance by its definition: all ways to take the last word of one, of the other, or of both."""

    @cache
    def distance(i, j):
        if not i or not j:
            return i + j
        both = distance(i - 1, j - 1) + (said[i - 1] != meant[j - 1])
        return min(distance(i - 1, j) + 1, distance(i, j - 1) + 1, both)

    return distance(len(said), len(meant))


@given(words, words)
def test_edits_are_the_fewest(said, meant):
    assert edits(said, meant) == brute_force(tuple(said), tuple(meant)) == edits(meant, said)


def test_words_are_without_case_and_punctuation():
    assert words_of("Un CERF-volant, l’été « 2 » !") == ["un", "cerf", "volant", "l'été", "2"]
    assert words_of("...") == []


def test_rates_are_over_all_words():
    score = word_error_rate(["un chat", "", "a b c d"], ["Un chat.", "un chien noir", "a"])["word_error_rate"]
    assert score.value == (0 + 3 + 3) / 6
    assert score.low <= score.value <= score.high
    assert word_error_rate(["Un chat !"], ["un chat"])["word_error_rate"].value == 0
