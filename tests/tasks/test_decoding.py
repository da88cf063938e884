"""Images decoded once: the same pixels as one by one, in order, and what cannot be read is counted."""

import numpy as np
import pytest
import torch
from PIL import Image

from cuetune.data.media import image_batches as decoding
from cuetune.data.media.image_batches import decode, decoded
from cuetune.data.media.image_reading import read_picture
from cuetune.data.row import Example
from cuetune.data.skip_report import Skipped
from cuetune.data.task import Task
from cuetune.errors import CuetuneError
from cuetune.support import spill_table
from tiny_vision import PREPARED, SIDE

TASK = Task(template="{image}", labels=("a", "b"), name="noise")


@pytest.fixture
def examples(tmp_path, monkeypatch):
    monkeypatch.setattr(decoding, "AT_ONCE", 3)
    draw = np.random.default_rng(0)
    made = []
    for number in range(8):
        path = tmp_path / f"{number}.png"
        Image.fromarray(draw.integers(0, 256, (30, 40, 3), dtype=np.uint8)).save(path)
        made.append(Example(f"row {number}", {"image": path}, "a"))
    return made


def pixels_alone(example):
    return PREPARED.bytes_of(read_picture(example.fields["image"], ""))


@pytest.mark.parametrize("in_memory", [True, False])
def test_decoded_pixels_are_those_of_each_image(examples, in_memory, monkeypatch, tmp_path):
    if not in_memory:
        monkeypatch.setattr(spill_table, "IN_MEMORY", 0)
    kept = decoded(examples, TASK, PREPARED, tmp_path)
    assert [each.where for each in kept] == [each.where for each in examples]
    assert [each.fields["image"].source for each in kept] == [each.fields["image"] for each in examples]
    for row, example in zip(kept, examples, strict=True):
        assert row.fields["image"].values.shape == (3, SIDE, SIDE)
        assert torch.equal(row.fields["image"].values, pixels_alone(example))


def test_decode_takes_what_is_decoded_already(examples, tmp_path):
    kept = decoded(examples, TASK, PREPARED)
    for number in range(8):
        (tmp_path / f"{number}.png").write_bytes(b"gone")
    once, again = (torch.cat([pixels for _, pixels, _ in decode(kept, TASK, PREPARED)]) for _ in range(2))
    assert torch.equal(once, again)
    assert decoded(kept, TASK, PREPARED)[3] is kept[3]
    with pytest.raises(CuetuneError, match="not an image"):  # prepared otherwise, it is read anew
        decoded(kept, TASK, PREPARED.sized(2 * SIDE))


def test_unreadable_images_are_left_out_and_counted_in_order(examples, tmp_path):
    for number in (1, 4, 5):
        (tmp_path / f"{number}.png").write_bytes(b"nothing")
    with pytest.raises(CuetuneError, match=r"row 1: .*1.png: not an image"):
        decoded(examples, TASK, PREPARED)
    skipped = Skipped()
    parts = list(decode(examples, TASK, PREPARED, skipped))
    assert [row.where for rows, _, _ in parts for row in rows] == [f"row {n}" for n in (0, 2, 3, 6, 7)]
    assert skipped.count == 3
    assert [reason.split(":")[0] for reason in skipped.reasons] == ["row 1", "row 4", "row 5"]
    assert torch.equal(torch.cat([pixels for _, pixels, _ in parts])[4], pixels_alone(examples[7]))
