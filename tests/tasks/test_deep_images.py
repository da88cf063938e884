"""Images of more than eight bits: bytes by the range that is stated, in all their levels, or one line of refusal."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from cuetune.data.media.image_files import PICTURES
from cuetune.data.media.image_reading import count_deep, read_picture
from cuetune.errors import CuetuneError
from cuetune.tuning.data import prepare
from cuetune.tuning.settings import Settings

RAMP = np.linspace(0, 1, 64).reshape(8, 8)


def saved(values, kind="TIFF", **tags) -> bytes:
    stream = io.BytesIO()
    names = {"low": 340, "high": 341, "least": 280, "most": 281, "photometric": 262}
    info = {"tiffinfo": {names[name]: value for name, value in tags.items()}} if tags else {}
    Image.fromarray(values).save(stream, kind, **info)
    return stream.getvalue()


def tiff_of(samples: bytes, bits: tuple[int, ...], side: int) -> bytes:
    """A TIFF that Pillow itself does not write: of colours with sixteen bits."""
    entries = [(256, 3, side), (257, 3, side), (259, 3, 1), (262, 3, 2), (277, 3, len(bits)), (278, 3, side)]
    entries += [(279, 4, len(samples)), (284, 3, 1)]
    end = 8 + 2 + 12 * (len(entries) + 2) + 4
    entries += [(258, 3, end), (273, 4, end + 2 * len(bits))]
    body = b"".join(
        struct.pack("<HHII", tag, kind, len(bits) if tag == 258 else 1, value) for tag, kind, value in sorted(entries)
    )
    head = struct.pack("<2sHIH", b"II", 42, 8, len(entries)) + body + struct.pack("<I", 0)
    return head + struct.pack(f"<{len(bits)}H", *bits) + samples


WANTED = np.rint(RAMP * 255)
READ = {
    "16 bits": saved((RAMP * 65535).astype(np.uint16)),
    "16 bits, PNG": saved((RAMP * 65535).astype(np.uint16), "PNG"),
    "12 of 16 bits, stated": saved((RAMP * 4095).astype(np.uint16), least=0, most=4095),
    "12 of 16 bits, the most stated": saved((RAMP * 4095).astype(np.uint16), most=4095),
    "32 bits, stated": saved((RAMP * 100_000).astype(np.int32), low=0, high=100_000),
    "below zero, stated": saved((RAMP * 2000 - 1000).astype(np.int32), low=-1000, high=1000),
    "fractions": saved(RAMP.astype(np.float32)),
    "numbers, stated": saved((RAMP * 40 - 20).astype(np.float32), low=-20.0, high=20.0),
    "PGM": b"P5 8 8 4095\n" + (RAMP * 4095).astype(">u2").tobytes(),
    "white is zero": saved(((1 - RAMP) * 65535).astype(np.uint16), photometric=0),
    "colours": tiff_of(np.repeat((RAMP * 65535).astype("<u2"), 3).tobytes(), (16, 16, 16), 8),
}
REFUSED = {
    "12 of 16 bits": saved((RAMP * 4095).astype(np.uint16)),
    "12 of 16 bits, PNG": saved((RAMP * 4095).astype(np.uint16), "PNG"),
    "8 of 16 bits": saved((RAMP * 255).astype(np.uint16)),
    "32 bits": saved((RAMP * 100_000).astype(np.int32)),
    "numbers": saved((RAMP * 1000).astype(np.float32)),
    "below zero": saved((RAMP - 0.5).astype(np.float32)),
    "beyond what is stated": saved((RAMP * 5000).astype(np.uint16), most=4095),
    "12 of 16 bits of colours": tiff_of(np.repeat((RAMP * 4095).astype("<u2"), 3).tobytes(), (16, 16, 16), 8),
}


@pytest.mark.parametrize("kind", READ)
def test_all_levels_are_seen(kind):
    read = np.asarray(read_picture(READ[kind], "row 1")).astype(int)
    assert np.abs(read[..., 0] - WANTED).max() <= 1
    assert (read[..., 0] == read[..., 2]).all()


@pytest.mark.parametrize("kind", REFUSED)
def test_what_would_be_black_or_a_guess_is_refused_in_one_line(kind):
    with pytest.raises(CuetuneError, match=r"row 1: more than 8 bits a channel.*save it with 8 bits") as caught:
        read_picture(REFUSED[kind], "row 1")
    assert "\n" not in str(caught.value)


def test_values_that_are_no_numbers_are_refused():
    with pytest.raises(CuetuneError, match="row 1: some values are no finite numbers"):
        read_picture(saved(np.where(RAMP > 0.5, np.nan, RAMP).astype(np.float32)), "row 1")


def test_bytes_and_black_images_stay_what_they_are():
    assert np.asarray(read_picture(saved(WANTED.astype(np.uint8)), "")).max() == 255
    assert not np.asarray(read_picture(saved(np.zeros((8, 8), np.uint16)), "")).any()


def test_it_is_said_how_many_were_scaled(tmp_path):
    for label, shift in (("low", 0), ("high", 5000)):
        (tmp_path / label).mkdir()
        for number in range(5):
            values = ((RAMP * 30_000) + 5 * number + shift).astype(np.uint16)
            (tmp_path / label / f"{number}.tif").write_bytes(saved(values))
    made = prepare(tmp_path, None, None, None, Settings())
    assert "more than 8 bits a channel, scaled by the range that the file states: 10" in made.notes
    assert count_deep([saved(WANTED.astype(np.uint8)), "nowhere.tif", {"bytes": READ["PGM"], "path": "a.pgm"}]) == 1
    assert len(list(PICTURES.read(tmp_path))) == 10
