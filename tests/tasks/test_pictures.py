"""Images of users: every mode becomes RGB as it should, and every fault is one line that says where it is."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from cuetune.data.media.image_reading import LARGEST, read_picture, read_pictures
from cuetune.data.row import Row
from cuetune.data.skip_report import Skipped
from cuetune.errors import CuetuneError
from tiny_vision import picture, png


def saved(path, image, **options):
    image.save(path, **options)
    return path


def huge(width, height):
    """A PNG of a few bytes that says it is enormous."""
    header = struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", b"\0" * 16))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in chunks
    )


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "P", "CMYK", "YCbCr", "HSV"])
def test_every_mode_becomes_rgb(tmp_path, mode):
    wanted = np.asarray(picture(mode=mode).convert("RGB"))
    if mode in ("YCbCr", "HSV"):
        read = read_picture(picture(mode=mode), "row 1")
    else:
        path = saved(tmp_path / ("a.tif" if mode == "CMYK" else "a.png"), picture(mode=mode))
        read = read_picture(path, "row 1")
    assert read.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(read), wanted)


def test_a_cmyk_jpeg_keeps_its_colours(tmp_path):
    read = np.asarray(read_picture(saved(tmp_path / "a.jpg", picture("red", mode="CMYK"), quality=95), "")).astype(int)
    assert np.abs(read[-1, -1] - [255, 0, 0]).max() < 12


def test_what_is_transparent_becomes_white():
    clear = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    clear.putpixel((0, 0), (0, 0, 255, 255))
    clear.putpixel((1, 0), (0, 0, 0, 128))
    read = np.asarray(read_picture(png(clear), "row 1"))
    assert read[3, 3].tolist() == [255, 255, 255]
    assert read[0, 0].tolist() == [0, 0, 255]
    assert abs(int(read[0, 1, 0]) - 127) <= 1
    palette = Image.new("P", (4, 4), 0)
    palette.putpalette([10, 20, 30, 200, 0, 0])
    palette.putpixel((0, 0), 1)
    read = np.asarray(read_picture(png(palette, transparency=0), "row 1"))
    assert read[3, 3].tolist() == [255, 255, 255]
    assert read[0, 0].tolist() == [200, 0, 0]


def test_sixteen_bits_are_brought_to_eight():
    values = np.array([[0, 128 * 256], [255 * 256, 65535]], dtype=np.uint16)
    read = np.asarray(read_picture(png(Image.fromarray(values)), "row 1"))
    assert read[:, :, 0].tolist() == [[0, 128], [255, 255]]


def test_pictures_are_turned_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter
    path = saved(tmp_path / "a.jpg", picture(size=(40, 30)), exif=exif)
    assert read_picture(path, "").size == (30, 40)


def test_the_first_of_moving_pictures(tmp_path):
    path = tmp_path / "a.gif"
    picture("red").save(path, save_all=True, append_images=[picture("blue")])
    assert np.asarray(read_picture(path, ""))[-1, -1].tolist() == [255, 0, 0]


def test_bytes_paths_mappings_and_pictures_are_the_same(tmp_path):
    path = saved(tmp_path / "a.png", picture())
    content = path.read_bytes()
    sources = [path, str(path), content, bytearray(content), {"bytes": content, "path": None}, {"path": str(path)}]
    for source in [*sources, picture()]:
        np.testing.assert_array_equal(np.asarray(read_picture(source, "row 1")), np.asarray(picture()))


def broken_files(folder):
    """(source, what is told) of everything that is no image."""
    whole = png(Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 60, 3), dtype=np.uint8)))
    named = {"cut.png": whole[: len(whole) // 2], "empty.png": b"", "text.png": b"no image at all"}
    named |= {
        "huge.png": huge(60_000, 60_000),
        "wide.png": huge(LARGEST + 1, 1),
        "flipped.png": whole[:60] + whole[80:],
    }
    for name, content in named.items():
        (folder / name).write_bytes(content)
    saved(folder / "one.png", Image.new("RGB", (1, 1)))
    (folder / "folder.png").mkdir()
    return {
        "cut.png": "a broken image",
        "flipped.png": "a broken image",
        "empty.png": "the file is empty",
        "text.png": "not an image that Pillow can read",
        "huge.png": "60,000 x 60,000 pixels; at most 100 million|too large an image",
        "wide.png": "at most 100 million",
        "one.png": "1 x 1 pixels is too small",
        "missing.png": "no such file",
        "folder.png": "is a folder",
    }


def test_every_fault_is_one_line_that_names_row_and_file(tmp_path):
    for name, told in broken_files(tmp_path).items():
        with pytest.raises(CuetuneError, match=told) as caught:
            read_picture(tmp_path / name, "data.csv, row 7")
        assert str(caught.value).startswith(f"data.csv, row 7: {tmp_path / name}: ")
        assert "\n" not in str(caught.value)
    for source, told in [(b"", "row 7: an empty image"), (7, "no image but int '7'"), ("  ", "no image but str")]:
        with pytest.raises(CuetuneError, match=told):
            read_picture(source, "data.csv, row 7")


def test_faults_are_skipped_and_counted_only_when_asked(tmp_path):
    names = list(broken_files(tmp_path))
    saved(tmp_path / "good.png", picture())
    rows = [Row(f"row {n}", {"image": str(tmp_path / name)}) for n, name in enumerate([*names, "good.png"])]
    with pytest.raises(CuetuneError, match="row 0: .*cut.png"):
        list(read_pictures(rows))
    skipped = Skipped()
    read = list(read_pictures(rows, skipped=skipped))
    assert [row.where for row, _ in read] == [f"row {len(names)}"]
    assert skipped.count == len(names)
    lines = skipped.lines()
    assert lines[0] == "9 rows left out:"
    assert len(lines) == 7
    assert lines[-1] == "  … and 4 more"
    assert Skipped().lines() == []


def test_rows_without_a_picture(tmp_path):
    with pytest.raises(CuetuneError, match=r"row 1: no column 'image' \(found: 'img'\)"):
        list(read_pictures([Row("row 1", {"img": "a.png"})]))
    with pytest.raises(CuetuneError, match="row 1, column 'image': no image"):
        list(read_pictures([Row("row 1", {"image": None})]))
