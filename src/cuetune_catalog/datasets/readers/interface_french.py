"""English interface strings and their French: the language pack of JupyterLab, read from its compiled catalogues (.mo).

Left out are strings with placeholders (%1, {name}), of several lines, with plural forms, and those that French says the
same way. Where catalogues differ in the French of one string, the most frequent stays, or else the first.
"""

import re
import struct
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from cuetune_catalog.datasets.readers.distinct import first_of_each

CATALOGUES = "jupyterlab_language_pack_fr_FR/locale/fr_FR/LC_MESSAGES/"
PLACEHOLDER = re.compile(r"%[\w(]|\{\w*\}|\$\{")
LITTLE_ENDIAN = b"\xde\x12\x04\x95"


def read(language_pack: Path) -> Iterable[tuple[str, str]]:
    """(english, french) of every string, each English one once, letters' case aside."""
    return first_of_each(_every_pair(language_pack))


def _every_pair(archive: Path) -> Iterator[tuple[str, str]]:
    found: dict[str, Counter[str]] = {}
    with zipfile.ZipFile(archive) as files:
        for name in sorted(files.namelist()):
            if name.startswith(CATALOGUES) and name.endswith(".mo"):
                for english, french in read_catalogue(files.read(name)):
                    if english != french and not any(map(_unfit, (english, french))):
                        found.setdefault(english, Counter())[french] += 1
    for english, ways in found.items():
        yield english, ways.most_common(1)[0][0]


def _unfit(text: str) -> bool:
    return not text or "\n" in text or PLACEHOLDER.search(text) is not None


def read_catalogue(content: bytes) -> Iterator[tuple[str, str]]:
    """Original and translation of every entry of a .mo file that has no plural forms, without its context.

    The file has two tables of (length, offset) pairs: N for the originals and N for the translations (GNU gettext
    manual, section "The Format of GNU MO Files").
    """
    order = "<" if content[:4] == LITTLE_ENDIAN else ">"
    count, originals, translations = struct.unpack_from(f"{order}3I", content, 8)
    for number in range(count):
        original, translation = (
            content[at : at + length].decode("utf-8")
            for length, at in (
                struct.unpack_from(f"{order}2I", content, table + 8 * number) for table in (originals, translations)
            )
        )
        if original and "\0" not in original:  # the empty original has the catalogue's own data
            yield original.rpartition("\x04")[2].strip(), translation.strip()
