"""Clips as rows: a folder for each class, a table with a column of paths, or data sets that hold them."""

import re

from cuetune.tasks.media import Media

VIDEOS = Media(
    field="video",
    noun="clip",
    endings=(".mp4", ".webm", ".avi", ".mov", ".mkv", ".m4v", ".mpg", ".mpeg", ".gif"),
    columns=("video", "clip", "movie", "film", "path", "file", "filename", "file_name"),
    begins=re.compile(rb"....ftyp|\x1aE\xdf\xa3|RIFF....AVI |\0\0\x01\xba|GIF8", re.DOTALL),
    module="av.",
)
