"""Tux Paint's stamps: what is taken from a small package, and the registry's promises against the real one."""

import csv
import shutil
from collections import Counter
from pathlib import Path

import pytest
from deb_file import deb

from cuetune.data.media.image_files import PICTURES
from cuetune.data.media.image_reading import read_picture, read_pictures
from cuetune.errors import CuetuneError
from cuetune_catalog.datasets.readers.tux_paint_stamps import caption_of
from cuetune_catalog.datasets.readers.tux_paint_stamps import read as read_stamps
from cuetune_catalog.datasets.readers.vector_image import SIDE
from cuetune_catalog.datasets.registry import DATASETS
from cuetune_catalog.fetch.archive import Archive
from tiny_vision import picture, png

STAMPS = DATASETS["tux-paint-stamps"]

pytest.importorskip("resvg_py")

SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="9pt" height="9pt"><path fill="#0f0" d="M0 0h20v20H0z"/></svg>'


@pytest.fixture
def package(tmp_path) -> Path:
    image, root = png(picture()), "usr/share/tuxpaint/stamps"
    files = {
        f"{root}/animals/cats/lion.txt": b"A lion.\nfr.utf8=Un lion.\n",
        f"{root}/animals/cats/lion.png": image,
        f"{root}/animals/cats/lion_mirror.png": image,
        f"{root}/animals/cats/lion_desc_fr.ogg": b"OggS",
        f"{root}/animals/cats/cartoon/lion.svg": SVG,
        f"{root}/animals/bee.svg": SVG,
        f"{root}/food/cartoon/pie.png": image,
        f"{root}/food/cartoon/pie.svg": SVG,
        f"{root}/military/tank.png": image,
        "usr/share/doc/tuxpaint/logo.png": image,
    }
    return deb(tmp_path / "stamps.deb", files)


def test_stamps_of_each_kind_are_told_apart(package):
    rows = {name: (content, cells) for content, name, cells in read_stamps(package)}
    assert {name: cells for name, (_, cells) in rows.items()} == {
        "animals/drawing/bee.png": ("animals", "drawing", "bee"),
        "animals/cartoon/cats-lion.png": ("animals", "cartoon", "cats lion"),
        "animals/photo/cats-lion.png": ("animals", "photo", "A lion."),
        "food/cartoon/pie.png": ("food", "cartoon", "pie"),
    }
    drawn = read_picture(rows["animals/drawing/bee.png"][0], "bee")
    assert drawn.size == (SIDE, SIDE)
    assert drawn.getpixel((9, 9)) == (0, 255, 0)
    assert read_picture(rows["food/cartoon/pie.png"][0], "pie").size == (40, 30)


def test_they_lie_in_folders_beside_their_table(package, tmp_path, monkeypatch):
    monkeypatch.setattr(Archive, "fetch", lambda self, progress: package)
    STAMPS.write(tmp_path / "stamps.csv")
    rows = list(PICTURES.read(tmp_path / "stamps.csv"))
    assert [row.values["label"] for row, _ in read_pictures(rows)] == ["animals", "animals", "animals", "food"]


def test_captions_are_the_first_line():
    assert caption_of("Ein Löwe. \nfr.utf8=…".encode()) == "Ein Löwe."
    assert caption_of(b"") == ""


@pytest.mark.slow
def test_the_real_stamps_are_what_the_registry_says(tmp_path):
    if shutil.which("apt-get") is None:
        pytest.skip("apt-get is not installed here")
    path = tmp_path / "tux-paint-stamps.csv"
    try:
        STAMPS.write(path)
    except CuetuneError as error:
        pytest.skip(f"the stamps cannot be fetched here: {error}")
    with path.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert tuple(rows[0]) == STAMPS.columns
    assert len(rows) == STAMPS.rows == len({row["image"] for row in rows})
    assert Counter(row["label"] for row in rows) == STAMPS.labels
    for row in rows:
        read_picture(tmp_path / row["image"], row["image"])
