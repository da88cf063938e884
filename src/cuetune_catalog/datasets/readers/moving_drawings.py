"""Drawings that move: each video shows one emoji on its way across the frame, in one of eight directions.

Every object is drawn once, in one of the four styles of `drawings`, so no split has a drawing on both sides. Which way
it goes, how far, and where, is drawn by a seed; the middle of the way is anywhere that keeps the drawing whole, so a
single frame says little of the direction.
"""

import io
import math
import random
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cuetune.errors import CuetuneError
from cuetune_catalog.datasets.readers.emoji_drawings import read as read_drawings

SIDE, FRAMES, RATE = 112, 16, 8  # pixels, frames, frames a second
SMALLEST, LARGEST = 30, 44  # pixels of a drawing
NEAREST, FARTHEST = 28, 56  # pixels that it goes
SEED, VIDEOS = 0, 1200
DIRECTIONS = ("right", "down-right", "down", "down-left", "left", "up-left", "up", "up-right")  # by 45 degrees


def read(**styles: Path) -> Iterator[tuple[bytes, str, tuple[str, ...]]]:
    """(MP4, "direction/object.mp4", (direction, category, style, object)) of every video."""
    draw = random.Random(SEED)
    for number, (drawing, style, cells) in enumerate(_one_of_each(styles, draw)):
        direction = number % len(DIRECTIONS)
        category, _, name = cells
        frames = way(drawing, direction, draw)
        yield (
            encoded(frames),
            f"{DIRECTIONS[direction]}/{name.replace(' ', '-')}.mp4",
            (
                DIRECTIONS[direction],
                category,
                style,
                name,
            ),
        )


def _one_of_each(styles: Mapping[str, Path], draw: random.Random) -> Iterator[tuple[bytes, str, tuple[str, ...]]]:
    """`VIDEOS` objects in random order, each in one random style."""
    objects: dict[str, list[tuple[bytes, str, tuple[str, ...]]]] = {}
    for content, _, cells in read_drawings(**styles):
        objects.setdefault(cells[2], []).append((content, cells[1], cells))
    names = sorted(objects)
    draw.shuffle(names)
    for name in names[:VIDEOS]:
        yield draw.choice(objects[name])


def way(drawing: bytes, direction: int, draw: random.Random) -> list[Any]:
    """The frames of a drawing that goes its way at an even pace, before a plain light background."""
    from PIL import Image

    size, far = draw.randint(SMALLEST, LARGEST), draw.uniform(NEAREST, FARTHEST)
    with Image.open(io.BytesIO(drawing)) as opened:
        small = opened.convert("RGBA").resize((size, size), Image.Resampling.LANCZOS)
    behind = tuple(draw.randint(190, 255) for _ in range(3))
    step = (far * math.cos(direction * math.pi / 4), far * math.sin(direction * math.pi / 4))
    room = [(SIDE - size - abs(each)) / 2 for each in step]
    middle = [(SIDE - size) / 2 + draw.uniform(-each, each) for each in room]
    frames = []
    for number in range(FRAMES):
        part = number / (FRAMES - 1) - 0.5
        frame = Image.new("RGB", (SIDE, SIDE), behind)
        place = tuple(round(centre + part * each) for centre, each in zip(middle, step, strict=True))
        frame.paste(small, place, small)  # type: ignore[arg-type]
        frames.append(frame)
    return frames


def encoded(frames: list[Any]) -> bytes:
    """Frames as an MP4 file. Raises CuetuneError where PyAV is not installed."""
    try:
        import av
    except ImportError as error:
        raise CuetuneError('making these videos needs PyAV; run `pip install "cuetune[video]"`.') from error
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "video.mp4"
        with av.open(str(path), "w") as file:
            # x264's assembly weighs blocks by where memory happens to lie, so it is left out.
            options = {"crf": "18", "x264-params": "asm=0"}
            stream: Any = file.add_stream("libx264", rate=RATE, options=options)
            stream.width = stream.height = SIDE
            stream.pix_fmt = "yuv420p"
            stream.thread_count = 1  # the same bytes on every machine
            for frame in frames:
                file.mux(stream.encode(av.VideoFrame.from_image(frame)))
            file.mux(stream.encode())
        return path.read_bytes()
