"""Emoji in four styles: what is drawn from small icon sets, and the registry's promises against the real ones."""

import csv
import io
import json
import shutil
import tarfile
from collections import Counter

import numpy as np
import pytest

from cuetune.data.media.image_files import PICTURES
from cuetune.data.media.image_reading import read_pictures
from cuetune.errors import CuetuneError
from cuetune_catalog.datasets.readers.emoji_drawings import read as read_drawings
from cuetune_catalog.datasets.readers.emoji_drawings import svg_of
from cuetune_catalog.datasets.readers.vector_image import SIDE
from cuetune_catalog.datasets.registry import DATASETS
from cuetune_catalog.fetch.archive import Archive

DRAWINGS = DATASETS["emoji-drawings"]

pytest.importorskip("resvg_py")

SQUARE = '<path fill="{}" d="M0 0h{}v{}H0z"/>'


def icon_set(path, colour, side, names):
    icons = {name: {"body": SQUARE.format(colour, side // 2, side)} for name in names}
    categories = {"Animals & Nature": ["cat", "two-dogs", "only here"], "Flags": ["flag"], "Symbols": ["plus"]}
    with tarfile.open(path, "w:gz") as files:
        for name, content in (("icons", {"icons": icons, "width": side, "height": side}), ("metadata", {})):
            text = json.dumps(content or {"categories": categories}).encode()
            entry = tarfile.TarInfo(f"package/{name}.json")
            entry.size = len(text)
            files.addfile(entry, io.BytesIO(text))
    return path


@pytest.fixture
def sets(tmp_path):
    common = ["cat", "two-dogs", "flag", "plus"]
    return {
        "noto": icon_set(tmp_path / "noto.tgz", "#ff0000", 128, common),
        "twemoji": icon_set(tmp_path / "twemoji.tgz", "#0000ff", 36, [*common, "only here"]),
    }


def test_what_all_styles_have_is_drawn_in_each(sets):
    rows = [(name, cells) for _, name, cells in read_drawings(**sets)]
    assert rows == [
        ("noto/cat.png", ("animals and nature", "noto", "cat")),
        ("twemoji/cat.png", ("animals and nature", "twemoji", "cat")),
        ("noto/two-dogs.png", ("animals and nature", "noto", "two dogs")),
        ("twemoji/two-dogs.png", ("animals and nature", "twemoji", "two dogs")),
        ("noto/plus.png", ("symbols", "noto", "plus")),
        ("twemoji/plus.png", ("symbols", "twemoji", "plus")),
    ]


def test_pictures_lie_beside_their_table_and_are_read_from_it(sets, tmp_path, monkeypatch):
    packages = {style: DRAWINGS.packages[style] for style in sets}
    known = {package.requirement: style for style, package in packages.items()}
    monkeypatch.setattr(Archive, "fetch", lambda self, progress: sets[known[self.requirement]])
    made = DRAWINGS.model_copy(update={"packages": packages})
    for _ in range(2):  # writing again replaces it
        made.write(tmp_path / "out" / "emoji-drawings.csv")
    rows = list(PICTURES.read(tmp_path / "out" / "emoji-drawings.csv"))
    read = {row.values["style"]: np.asarray(image) for row, image in read_pictures(rows)}
    assert len(rows) == 6
    for style, colour in (("noto", [255, 0, 0]), ("twemoji", [0, 0, 255])):
        assert read[style].shape == (SIDE, SIDE, 3)
        assert read[style][100, 10].tolist() == colour
        assert read[style][100, -10].tolist() == [255, 255, 255]  # transparent there


def test_an_icons_own_size_comes_first():
    icons = {"icons": {"a": {"body": "<g/>", "width": 20}}, "width": 16, "height": 18, "top": 2}
    assert 'viewBox="0 2 20 18"' in svg_of(icons, "a")


def test_without_a_renderer_the_extra_is_named(sets, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "resvg_py", None)
    with pytest.raises(CuetuneError, match=r'pip install "cuetune\[image\]"'):
        list(read_drawings(**sets))


@pytest.mark.slow
def test_the_real_drawings_are_what_the_registry_says(tmp_path):
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed here")
    path = tmp_path / "emoji-drawings.csv"
    try:
        DRAWINGS.write(path)
    except CuetuneError as error:
        pytest.skip(f"the icon sets cannot be fetched here: {error}")
    with path.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert tuple(rows[0]) == DRAWINGS.columns
    assert len(rows) == DRAWINGS.rows
    assert Counter(row["label"] for row in rows) == DRAWINGS.labels
    assert all((tmp_path / row["image"]).stat().st_size > 100 for row in rows)
