"""Images of users, read by Pillow: every format becomes RGB, and every fault is one line that says where it is."""

import struct
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from cuetune.data.media.bit_depth import DEEP, as_bytes, check_filled, is_deep
from cuetune.data.media.decoded import Decoded, source_of
from cuetune.data.media.opening import opened
from cuetune.data.row import Row
from cuetune.data.skip_report import Skipped
from cuetune.errors import CuetuneError

LARGEST = 100_000_000  # pixels; decoded they take 300 MB
SMALLEST = 2  # pixels a side: less says nothing
BROKEN = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, struct.error)
MAY_BE_DEEP = (".tif", ".tiff", ".png", ".pgm", ".pnm", ".ppm", ".pfm", ".jp2", ".j2k", ".fits", ".fit", ".im", "")


def read_picture(source: Any, where: str) -> Any:
    """An image as Pillow has it, in RGB, upright, over white where it was transparent.

    source: a path, bytes, `{"bytes": …, "path": …}` as `datasets` keeps images, or a Pillow image. where: its place
    in the data, for errors. Raises CuetuneError for anything missing, empty, broken, too large or of a single pixel.
    """
    image, unidentified = _pillow()
    if isinstance(source, image.Image):
        return _as_rgb(source, where)
    stream, name = opened(source, where, "image")
    with stream:
        try:
            picture = image.open(stream)
            _check_size(picture, name)
            cut = is_deep(picture) and picture.mode not in DEEP
            picture.load()
            if cut:
                check_filled(256 * max(high for _, high in picture.convert("RGB").getextrema()), name)
            return _as_rgb(picture, name)
        except unidentified as error:
            raise CuetuneError(
                f"{name}: not an image that Pillow can read; use PNG, JPEG, WebP, GIF or BMP."
            ) from error
        except image.DecompressionBombError as error:
            raise CuetuneError(f"{name}: too large an image ({error}); shrink it.") from error
        except BROKEN as error:
            reason = str(error).splitlines()[0][:80] if str(error) else type(error).__name__
            raise CuetuneError(f"{name}: a broken image ({reason}); replace it or remove the row.") from error


def _pillow() -> tuple[Any, Any]:
    """Pillow's module of images, and what it raises for files that are none."""
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        raise CuetuneError('reading images needs Pillow; run `pip install "cuetune[image]"`.') from error
    return Image, UnidentifiedImageError


def _check_size(picture: Any, where: str) -> None:
    width, height = picture.size
    if width * height > LARGEST:
        raise CuetuneError(
            f"{where}: {width:,} x {height:,} pixels; at most {LARGEST // 10**6} million are read, shrink it."
        )
    if min(width, height) < SMALLEST:
        raise CuetuneError(f"{where}: {width} x {height} pixels is too small; replace it or remove the row.")


def _as_rgb(picture: Any, where: str) -> Any:
    """Any mode as RGB: CMYK converted, sixteen bits brought to eight, transparent parts over white, turned upright."""
    from PIL import Image, ImageOps

    _check_size(picture, where)
    if picture.mode in DEEP:
        picture = _upright(as_bytes(picture, where), picture)
    picture = ImageOps.exif_transpose(picture)
    if picture.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return picture if picture.mode == "RGB" else picture.convert("RGB")


def _upright(made: Any, original: Any) -> Any:
    """What was made of an image, with the direction that the original says it is to be seen in."""
    exif = original.getexif()
    made.getexif()[0x0112] = exif.get(0x0112, 1)
    return made


def count_deep(sources: Iterable[Any]) -> int:
    """How many images have more than eight bits a channel; only files whose endings may have them are opened."""
    image, _ = _pillow()
    found = 0
    for source in sources:
        if isinstance(source, Decoded) and source.header is not None:
            found += source.header
            continue
        source = source_of(source)
        path = source.get("path") if isinstance(source, dict) else getattr(source, "path", source)
        if isinstance(path, str | Path) and Path(path).suffix.lower() not in MAY_BE_DEEP:
            continue
        if isinstance(source, image.Image):
            found += is_deep(source)
            continue
        with suppress(CuetuneError, *BROKEN), opened(source, "", "image")[0] as stream, image.open(stream) as picture:
            found += is_deep(picture)
    return found


def read_pictures(
    rows: Iterable[Row], column: str = "image", skipped: Skipped | None = None
) -> Iterator[tuple[Row, Any]]:
    """Each row with its image in RGB, one in memory at a time.

    skipped: counts the rows whose images cannot be read and leaves them out; without it the first is an error.
    """
    for row in rows:
        try:
            yield row, read_picture(_cell(row, column), row.where)
        except CuetuneError as error:
            if skipped is None:
                raise
            skipped.add(str(error))


def _cell(row: Row, column: str) -> Any:
    if column not in row.values:
        found = ", ".join(map(repr, row.values)) or "none"
        raise CuetuneError(f"{row.where}: no column {column!r} (found: {found}); name the one with images.")
    if row.values[column] is None:
        raise CuetuneError(f"{row.where}, column {column!r}: no image; fill or remove the row.")
    return row.values[column]
