"""Pictures as rows: a folder for each class, a table with a column of paths, or data sets that hold them."""

import re

from cuetune.tasks.media import Media

PICTURES = Media(
    field="image",
    noun="picture",
    endings=(".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".pgm"),
    columns=("image", "picture", "img", "photo", "path", "file", "filename", "file_name"),
    begins=re.compile(rb"\x89PNG|\xff\xd8\xff|GIF8|BM|RIFF....WEBP|II\*\0|MM\0\*|P[1-6]\s", re.DOTALL),
    module="PIL.",
)
