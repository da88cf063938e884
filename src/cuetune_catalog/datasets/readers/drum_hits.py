"""Single hits of drum kits: what was hit, and in which kit. Labels are the names that the kits' makers gave.

Names that fit none of the five labels, or several ("Snare Rimshot"), are left out, and so is the second of equal files.
"""

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree

from cuetune_catalog.fetch.debian import files_of

ROOT = PurePosixPath("usr/share/hydrogen/data/drumkits")
HITS = {
    "cymbal": r"cymbal|crash|\bride\b|splash|china",
    "hi-hat": r"\bhi-?hats?\b|\bhats?\b|\bhh\b",
    "kick": r"kick|bass ?drum",
    "snare": r"snare",
    "tom": r"\btoms?\b",
}
OTHERS = r"rim|stick|stomp|clap|bell"  # another instrument, or two at once


def read(drums: Path) -> Iterator[tuple[bytes, str, tuple[str, ...]]]:
    """(audio, "kit/file", (label, kit, name)) of every hit that has one of the labels."""
    kits: dict[str, bytes] = {}
    audio: dict[tuple[str, str], bytes] = {}
    with files_of(drums) as files:
        for name, content in files:
            path = PurePosixPath(name)
            if path.is_relative_to(ROOT) and path.parent.parent == ROOT:
                kit = path.parent.name
                if path.name == "drumkit.xml":
                    kits[kit] = content.read()
                else:
                    audio[kit, path.name] = content.read()
    seen: set[str] = set()
    for kit in sorted(kits):
        for instrument, file in sorted(instruments(kits[kit])):
            label, hit = label_of(instrument), audio.get((kit, file))
            key = hashlib.sha256(hit).hexdigest() if hit else ""
            if label and hit and key not in seen:
                seen.add(key)
                yield hit, f"{_plain(kit)}/{_plain(file)}", (label, kit, instrument)


def instruments(kit: bytes) -> Iterator[tuple[str, str]]:
    """(name, file) of every sample of a `drumkit.xml`, with or without its namespace."""
    for instrument in ElementTree.fromstring(kit).iter():
        if _tag(instrument) == "instrument":
            names = [each.text or "" for each in instrument if _tag(each) == "name"]
            for each in instrument.iter():
                if _tag(each) == "filename" and each.text and names:
                    yield names[0], each.text


def label_of(name: str) -> str | None:
    """What was hit, by the one word for it in an instrument's name; None where there is none, or another."""
    found = [label for label, words in HITS.items() if re.search(words, name.lower())]
    return found[0] if len(found) == 1 and not re.search(OTHERS, name.lower()) else None


def _tag(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]


def _plain(name: str) -> str:
    return name.replace(" ", "_")
