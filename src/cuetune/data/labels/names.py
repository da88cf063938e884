"""Names of labels: which spellings mean the same one, in which order they stand, and the words that go with them."""

import re
from collections.abc import Mapping, Sequence

from cuetune.errors import CuetuneError

WHOLE = re.compile(r"([+-]?\d+)\.0+")
NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")


def label_key(name: str) -> str:
    """What spellings of one label have in common: TRUE, True and true; 1 and 1.0; white space around a name."""
    plain = name.strip()
    if plain.lower() in ("true", "false"):
        return plain.lower()
    whole = WHOLE.fullmatch(plain)
    return whole[1] if whole else plain


def in_order(names: Sequence[str]) -> tuple[str, ...]:
    """Names as they are sorted: numbers by value, so that 10 stands behind 2; other names as texts."""
    if names and all(NUMBER.fullmatch(name) for name in names):
        return tuple(sorted(names, key=lambda name: (float(name), name)))
    return tuple(sorted(names))


def given_labels(given: Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    """Labels as the user gave them. One that holds commas may have been cut at them: known names are put together."""
    known_keys = {label_key(name) for name in known}
    labels, rest = [], list(given)
    while rest:
        taken = 1
        if label_key(rest[0]) not in known_keys:
            joined = [n for n in range(len(rest), 1, -1) if _joined(rest[:n], known_keys)]
            taken = joined[0] if joined else 1
        labels.append(_joined(rest[:taken], known_keys) or rest[0])
        rest = rest[taken:]
    return tuple(labels)


def _joined(parts: Sequence[str], known_keys: set[str]) -> str | None:
    return next((name for name in (", ".join(parts), ",".join(parts)) if label_key(name) in known_keys), None)


def paired_words(
    labels: Sequence[str], words: Sequence[str] | Mapping[str, str], usual: Sequence[str]
) -> tuple[str, ...]:
    """The word of each label. words: one for each, in the labels' order; or "label=word" pairs, or a mapping.

    usual: for labels that the pairs leave out. Raises CuetuneError for a label that is not there, or another number.
    """
    if not isinstance(words, Mapping):
        pairs = [_pair(word, labels) for word in words]
        if not any(pairs):
            return _one_each(labels, words)
        if not all(pairs):
            wrong = next(word for word, pair in zip(words, pairs, strict=True) if not pair)
            raise CuetuneError(
                f"--label-words {wrong!r}: others are pairs of label=word, and this one names none of the labels "
                f"{_listed(labels)}."
            )
        words = dict(pair for pair in pairs if pair)
    unknown = [label for label in words if label not in labels]
    if unknown:
        raise CuetuneError(f"--label-words: no label {unknown[0]!r}; the labels are {_listed(labels)}.")
    return tuple(words.get(label, word) for label, word in zip(labels, usual, strict=True))


def _one_each(labels: Sequence[str], words: Sequence[str]) -> tuple[str, ...]:
    if len(words) != len(labels):
        raise CuetuneError(
            f"{len(labels)} labels but {len(words)} label words; give one for each, in this order: {_listed(labels)}; "
            "or pairs of label=word."
        )
    return tuple(words)


def _pair(word: str, labels: Sequence[str]) -> tuple[str, str] | None:
    """The label that a word begins with, and what stands behind its "="; the longest, where several fit."""
    fitting = [label for label in labels if word.startswith(f"{label}=") and len(word) > len(label) + 1]
    label = max(fitting, key=len, default=None)
    return None if label is None else (label, word[len(label) + 1 :])


def _listed(labels: Sequence[str]) -> str:
    return ", ".join(map(repr, labels[:20])) + (", …" if len(labels) > 20 else "")
