"""What words mean and what kind of thing they name: noun senses of WordNet 3.1 (Princeton University).

Taken are the senses that occur in the texts which WordNet's makers tagged, so common words in their common meanings, of
kinds that a reader of the definition can tell. What stands in the source behind the definition, examples in quotation
marks, is left out; so are all but the first of equal definitions.
"""

import re
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from cuetune_catalog.datasets.readers.distinct import first_of_each

# Numbers of WordNet's files of nouns (manual page lexnames(5WN)), and what such nouns name.
KINDS = {
    "05": "animal",
    "06": "object",
    "08": "body",
    "12": "feeling",
    "13": "food",
    "15": "place",
    "18": "person",
    "20": "plant",
}
SENSE = re.compile(rb"\S+%1:\d\d:\d\d::? (?P<offset>\d{8}) \d+ (?P<tagged>\d+)")
SYNSET = re.compile(r"(?P<offset>\d{8}) (?P<file>\d\d) n [0-9a-f]{2} (?P<word>\S+) .*?\| (?P<gloss>.*)")


def read(wordnet: Path) -> Iterable[tuple[str, str, str]]:
    """(text, label, word) of every common sense with a definition of its own; word is its first one."""
    return first_of_each(_every_definition(wordnet))


def _every_definition(archive: Path) -> Iterator[tuple[str, str, str]]:
    senses, synsets = members(archive, ("package/dict/index.sense", "package/dict/data.noun"))
    common = {match["offset"].decode() for match in SENSE.finditer(senses) if int(match["tagged"])}
    for line in synsets.decode("utf-8").splitlines():
        match = SYNSET.fullmatch(line.strip())
        if match and match["offset"] in common and match["file"] in KINDS and (said := definition(match["gloss"])):
            yield said, KINDS[match["file"]], match["word"].replace("_", " ")


def members(archive: Path, names: tuple[str, ...]) -> list[bytes]:
    """The content of files of the archive."""
    with tarfile.open(archive) as files:
        streams = [files.extractfile(name) for name in names]
        assert all(streams)
        return [stream.read() for stream in streams if stream]


def definition(gloss: str) -> str:
    """A gloss without its examples."""
    return re.split(r'[;:,]?\s*"', gloss, maxsplit=1)[0].strip(" ;")
