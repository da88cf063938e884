"""What the splits of a data set are called: train, validation and test, in all their spellings."""

import re

NAMES = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev", "development"),
    "test": ("test", "testing", "eval", "evaluation"),
}
KNOWN = {spelling: split for split, spellings in NAMES.items() for spelling in spellings}


def split_of(name: str) -> str | None:
    """What a split of exactly this name is: "train", "validation" or "test"; None for another."""
    return KNOWN.get(name.lower())


def split_named(name: str) -> str | None:
    """The split that a file's name speaks of, as "reviews_dev-00000" does of validation; None where none or several."""
    words = {KNOWN[word] for word in re.split(r"[^a-z]+", name.lower()) if word in KNOWN}
    return words.pop() if len(words) == 1 else None
