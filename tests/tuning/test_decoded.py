"""Pictures decoded once: the same pixels as one by one, in order, and what cannot be read is counted."""

import numpy as np
import pytest
import torch
from PIL import Image

from cuetune.errors import CuetuneError
from cuetune.tasks import decoding
from cuetune.tasks.decoding import decode
from cuetune.tasks.pictures import read_picture
from cuetune.tasks.skipped import Skipped
from cuetune.tasks.task import Row
from cuetune.tuning import states
from cuetune.tuning.decoded import DecodedPictures
from tiny_vision import PREPARED, SIDE


@pytest.fixture
def rows(tmp_path, monkeypatch):
    monkeypatch.setattr(decoding, "AT_ONCE", 3)
    draw = np.random.default_rng(0)
    made = []
    for number in range(8):
        path = tmp_path / f"{number}.png"
        Image.fromarray(draw.integers(0, 256, (30, 40, 3), dtype=np.uint8)).save(path)
        made.append(Row(f"row {number}", {"image": str(path)}))
    return made


@pytest.mark.parametrize("in_memory", [True, False])
def test_pixels_are_those_of_each_picture(rows, in_memory, monkeypatch, tmp_path):
    if not in_memory:
        monkeypatch.setattr(states, "IN_MEMORY", 0)
    kept = DecodedPictures(rows, PREPARED, folder=tmp_path)
    wanted = torch.stack([PREPARED.bytes_of(read_picture(row.values["image"], "")) for row in rows])
    assert kept.rows == rows
    assert kept.of([5, 0]).shape == (2, 3, SIDE, SIDE)
    assert torch.equal(kept.of(range(8)), wanted)
    assert torch.equal(kept.of([5, 0]), wanted[[5, 0]])
    assert torch.equal(torch.cat([pixels for _, pixels in decode(rows, PREPARED)]), wanted)


def test_what_cannot_be_read_is_left_out_and_counted_in_order(rows, tmp_path):
    for number in (1, 4, 5):
        (tmp_path / f"{number}.png").write_bytes(b"nothing")
    with pytest.raises(CuetuneError, match=r"row 1: .*1.png: is no picture"):
        DecodedPictures(rows, PREPARED)
    skipped = Skipped()
    kept = DecodedPictures(rows, PREPARED, skipped=skipped)
    assert [row.where for row in kept.rows] == [f"row {n}" for n in (0, 2, 3, 6, 7)]
    assert skipped.count == 3
    assert [reason.split(":")[0] for reason in skipped.reasons] == ["row 1", "row 4", "row 5"]
    last = PREPARED.bytes_of(read_picture(rows[7].values["image"], ""))
    assert torch.equal(kept.of([4])[0], last)


def test_no_picture_at_all_is_an_error(rows, tmp_path):
    for number in range(8):
        (tmp_path / f"{number}.png").write_bytes(b"")
    with pytest.raises(CuetuneError, match="none of 8 pictures can be read: row 0: .*the file is empty"):
        DecodedPictures(rows, PREPARED, skipped=Skipped())
