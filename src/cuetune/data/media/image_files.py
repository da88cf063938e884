"""Images as rows: folders of classes, tables with a column of paths, or data sets that hold them."""

import re
from functools import cache

from cuetune.data.media.rows import Media

# Formats that Pillow lists and cannot decode by itself, or for which it runs another program.
UNDECODED = ("BUFR", "GRIB", "HDF5", "WMF", "MPEG", "EPS")


@cache
def decoded_images() -> frozenset[str]:
    """The endings of all files that Pillow decodes; none where it is not installed."""
    try:
        from PIL import Image
    except ImportError:
        return frozenset()
    found = Image.registered_extensions()
    return frozenset(end for end, kind in found.items() if kind in Image.OPEN and kind not in UNDECODED)


PICTURES = Media(
    field="image",
    noun="image",
    endings=(".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".pgm"),
    columns=("image", "picture", "img", "photo", "path", "file", "filename", "file_name"),
    begins=re.compile(
        rb"\x89PNG|\xff\xd8\xff|GIF8|BM|RIFF....WEBP|II[*+]\0|MM\0[*+]|P[1-7fF]\s|....ftyp(avif|avis|mif1)|8BPS|"
        rb"\0\0\x01\0|icns|\0\0\0\x0cjP  |\xff\x4f\xff\x51|qoif|DDS |\x0a[\0-\x05]\x01",
        re.DOTALL,
    ),
    module="PIL.",
    decoded=decoded_images,
)
