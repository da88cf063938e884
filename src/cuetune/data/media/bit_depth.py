"""Images of more than eight bits a channel: scaled to bytes by the range that the file states, or refused."""

from typing import Any

import numpy as np

from cuetune.errors import CuetuneError

DEEP = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N", "I;16S", "I;16BS")  # Pillow's modes
SMALLEST_VALUE, LARGEST_VALUE = (340, 280), (341, 281)  # TIFF tags: of samples of any kind, and of whole numbers
PHOTOMETRIC, WHITE_IS_ZERO, BITS = 262, 0, 258
FULL = 65535  # of sixteen bits
FAINT = 4096  # a sixteenth of that: as bytes, no more than sixteen levels are left of it


def is_deep(picture: Any) -> bool:
    """Whether an opened image has more than eight bits a channel; nothing is decoded."""
    return picture.mode in DEEP or _is_cut(picture)


def _is_cut(picture: Any) -> bool:
    """Whether Pillow keeps the upper eight of a colour image's sixteen bits alone."""
    tiles = getattr(picture, "tile", None) or ()
    return picture.mode not in DEEP and any(";16" in str(tile[3]) for tile in tiles)


def stated_range(picture: Any) -> tuple[float, float] | None:
    """(low, high) that a file states, or its format does: of 16 unsigned bits all, of fractions 0 to 1. Else None."""
    tags = getattr(picture, "tag_v2", None) or {}
    low, high = (_first(tags, names) for names in (SMALLEST_VALUE, LARGEST_VALUE))
    if high is not None and high > (low or 0):
        return low or 0.0, high
    whole = picture.mode.startswith("I;16") and not picture.mode.endswith("S")
    return (0.0, float(FULL)) if whole or picture.format == "PPM" else None


def _first(tags: Any, names: tuple[int, ...]) -> float | None:
    for name in names:
        value = tags.get(name)
        if value is not None:
            return float(value[0] if isinstance(value, tuple) else value)
    return None


def as_bytes(picture: Any, where: str) -> Any:
    """A grey image of eight bits, of one in a mode of `DEEP`.

    Raises CuetuneError where no range is stated that its values fill, so that what is seen would be guessed.
    """
    from PIL import Image

    values, stated = np.asarray(picture), stated_range(picture)
    if not np.isfinite(values).all():
        raise CuetuneError(f"{where}: some values are no finite numbers; replace the image or remove the row.")
    low, high = float(values.min()), float(values.max())
    if stated is None and picture.mode == "F" and low >= 0 and high <= 1:
        stated = (0.0, 1.0)
    if stated is None or low < stated[0] or high > stated[1]:
        raise CuetuneError(_unstated(where, low, high))
    if stated == (0.0, float(FULL)):
        check_filled(high, where)
        levels = (values // 256).astype(np.uint8)
    else:
        levels = np.rint((values.astype(np.float64) - stated[0]) / (stated[1] - stated[0]) * 255).astype(np.uint8)
    tags = getattr(picture, "tag_v2", None) or {}
    return Image.fromarray(255 - levels if tags.get(PHOTOMETRIC) == WHITE_IS_ZERO else levels)


def check_filled(high: float, where: str) -> None:
    """Raise CuetuneError where the values of sixteen bits would be black, or nearly so, as bytes."""
    if 0 < high < FAINT:
        raise CuetuneError(_unstated(where, 0, high))


def _unstated(where: str, low: float, high: float) -> str:
    return (
        f"{where}: more than 8 bits a channel, with values from {low:g} to {high:g}, and the file does not state the "
        "range from black to white (TIFF tags SMinSampleValue, SMaxSampleValue); save it with 8 bits a channel."
    )
