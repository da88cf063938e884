"""Definitions with many labels, made of the bundled WordNet: by its own files of nouns and verbs, or by what a noun is.

`files()` has 41 labels as WordNet names them ("noun.animal", "verb.motion"), of about three tokens each. `kinds()` has
as many labels as wanted ("musical instrument", "body of water"): nouns by a noun that they are all a kind of.
"""

import re
import tarfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from cuetune.tasks.definitions import DEFINITIONS, SENSE, definition

FILES = {
    "noun": "Tops act animal artifact attribute body cognition communication event feeling food group location motive "
    "object person phenomenon plant possession process quantity relation shape state substance time",
    "verb": "body change cognition communication competition consumption contact creation emotion motion perception "
    "possession social stative weather",
}
NUMBERS = {"noun": 3, "verb": 29}  # of the first file of each, lexnames(5WN)
SYNSET = re.compile(r"(?P<offset>\d{8}) (?P<file>\d\d) \w [0-9a-f]{2} (?P<word>\S+) (?P<rest>.*?)\| (?P<gloss>.*)")
ABOVE = re.compile(r"@ (\d{8}) n")
MOST, LEAST = 150, 30  # nouns of a kind: a larger one is divided, a smaller one left out


@dataclass(frozen=True)
class Synset:
    """One meaning: its words' first, what is above it, and its definition."""

    file: int
    word: str
    above: tuple[str, ...]
    gloss: str


def files() -> list[dict[str, str]]:
    """Rows of text and label for every common noun or verb, its label the name of WordNet's file that it is in."""
    rows = []
    for part, names in FILES.items():
        called = {NUMBERS[part] + number: f"{part}.{name}" for number, name in enumerate(names.split())}
        rows += [{"text": each.gloss, "label": called[each.file]} for each in _common(part).values()]
    return _once(rows)


def kinds(n_labels: int) -> list[dict[str, str]]:
    """Rows of text and label for common nouns of the `n_labels` most frequent kinds."""
    nouns, common = _synsets("noun"), _common("noun")
    members: dict[str, set[str]] = defaultdict(set)
    for offset in common:
        for kind in _all_above(offset, nouns):
            members[kind].add(offset)
    below = defaultdict(set)
    for kind in members:
        for above in nouns[kind].above:
            below[above].add(kind)
    divided = set()
    for top in [kind for kind in members if not nouns[kind].above]:
        divided |= set(_divided(top, members, below))
    best = sorted(divided, key=lambda kind: (-len(members[kind]), kind))[:n_labels]
    rows = [{"text": common[each].gloss, "label": nouns[kind].word} for kind in best for each in sorted(members[kind])]
    twice = {label for label, kinds in Counter(nouns[kind].word for kind in best).items() if kinds > 1}
    return _once([row for row in rows if row["label"] not in twice])


def _divided(kind: str, members: dict[str, set[str]], below: dict[str, set[str]]) -> Iterator[str]:
    """The kinds below one, down to those that are small enough."""
    if len(members[kind]) <= MOST:
        yield kind
        return
    for each in sorted(below[kind]):
        if len(members[each]) >= LEAST:
            yield from _divided(each, members, below)


def _all_above(offset: str, nouns: dict[str, Synset]) -> set[str]:
    found, ahead = set(), [offset]
    while ahead:
        for above in nouns[ahead.pop()].above:
            if above in nouns and above not in found:
                found.add(above)
                ahead.append(above)
    return found


def _synsets(part: str) -> dict[str, Synset]:
    found = {}
    for line in _member(f"package/dict/data.{part}").decode("utf-8").splitlines():
        if match := SYNSET.fullmatch(line.strip()):
            above = tuple(ABOVE.findall(match["rest"]))
            word = match["word"].replace("_", " ")
            found[match["offset"]] = Synset(int(match["file"]), word, above, definition(match["gloss"]))
    return found


def _common(part: str) -> dict[str, Synset]:
    """Meanings that occur in the texts which WordNet's makers tagged."""
    number = {"noun": b"%1", "verb": b"%2"}[part]
    pattern = re.compile(SENSE.pattern.replace(b"%1", number))
    senses = pattern.finditer(_member("package/dict/index.sense"))
    tagged = {match["offset"].decode() for match in senses if int(match["tagged"])}
    return {offset: each for offset, each in _synsets(part).items() if offset in tagged and each.gloss}


def _member(name: str) -> bytes:
    with tarfile.open(DEFINITIONS.archive.fetch()) as archive:
        stream = archive.extractfile(name)
        assert stream is not None
        return stream.read()


def _once(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """Rows whose text occurs once."""
    counts = Counter(row["text"].lower() for row in rows)
    return [row for row in rows if counts[row["text"].lower()] == 1]
