"""Moving drawings: a clip shows its drawing on its way, decided by the seed, and the registry's promises."""

import csv
import random
import shutil
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from cuetune.data.media.video_files import VIDEOS
from cuetune.data.media.video_reading import read_clip
from cuetune.errors import CuetuneError
from cuetune_catalog.datasets.readers.moving_drawings import (
    DIRECTIONS,
    FARTHEST,
    FRAMES,
    NEAREST,
    SIDE,
    encoded,
    way,
)
from cuetune_catalog.datasets.registry import DATASETS
from tiny_vision import png

MOVING = DATASETS["moving-drawings"]

pytest.importorskip("av")
BALL = png(Image.new("RGBA", (50, 50), (0, 0, 120, 255)))


def places(frames):
    """(T, 2) across and down: where the dark drawing is."""
    found = []
    for frame in frames:
        down, across = np.nonzero(np.asarray(frame)[:, :, 0] < 100)
        found.append((across.mean(), down.mean()))
    return np.array(found)


@pytest.mark.parametrize("direction", range(8))
def test_a_drawing_goes_its_way_through_compression(direction):
    made = way(BALL, direction, random.Random(direction))
    pictures, length = read_clip(encoded(made), "clip", FRAMES)
    seen = places(pictures)
    assert length == len(seen) == FRAMES
    assert np.abs(seen - places(made)).max() < 1
    across, down = seen[-1] - seen[0]
    said = {"right": across > 15, "left": across < -15, "down": down > 15, "up": down < -15}
    assert {name for name, true in said.items() if true} == set(DIRECTIONS[direction].split("-"))
    assert NEAREST - 2 < np.hypot(across, down) < FARTHEST + 2
    assert all(np.asarray(frame).shape == (SIDE, SIDE, 3) for frame in made)
    areas = [(np.asarray(frame)[:, :, 0] < 100).sum() for frame in made]
    assert max(areas) == min(areas)  # whole in every frame


def test_the_seed_decides_everything():
    first, again, other = (encoded(way(BALL, 3, random.Random(seed))) for seed in (1, 1, 2))
    assert first == again != other


@pytest.mark.slow
def test_the_real_clips_are_what_the_registry_says(tmp_path):
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed here")
    path = tmp_path / "moving-drawings.csv"
    try:
        MOVING.write(path)
    except CuetuneError as error:
        pytest.skip(f"the icon sets cannot be fetched here: {error}")
    with path.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert tuple(rows[0]) == MOVING.columns
    assert len(rows) == MOVING.rows == len({row["name"] for row in rows})
    assert Counter(row["label"] for row in rows) == MOVING.labels
    for row in list(VIDEOS.read(path))[::50]:
        assert read_clip(row.values["video"], row.where, 4)[1] == FRAMES
