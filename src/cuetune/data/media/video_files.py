"""Videos as rows: folders of classes, tables with a column of paths, or data sets that hold them."""

import re
from functools import cache

from cuetune.data.media.rows import Media

# Endings of containers that hold video, by the format of FFmpeg; which of them PyAV's build opens, it says itself.
CONTAINERS = {
    "mov": "mov mp4 m4v 3gp 3g2 mj2 f4v",
    "matroska": "mkv webm",
    "avi": "avi divx",
    "mpeg": "mpg mpeg vob",
    "mpegvideo": "m1v m2v",
    "mpegts": "ts m2ts mts",
    "asf": "asf wmv",
    "ogg": "ogv ogm",
    "rm": "rm rmvb",
    "h264": "h264 264 avc",
    "hevc": "hevc h265 265",
    "mjpeg": "mjpeg mjpg",
    "yuv4mpegpipe": "y4m",
}
CONTAINERS |= {name: name for name in ("amv", "dv", "flv", "gif", "gxf", "ivf", "mxf", "nut", "swf", "wtv")}


@cache
def decoded_videos() -> frozenset[str]:
    """The endings of all files of video that PyAV opens; none where it is not installed."""
    try:
        import av
    except ImportError:
        return frozenset()
    known = {part for name in av.formats_available for part in name.split(",")}
    return frozenset(f".{end}" for name, ends in CONTAINERS.items() if name in known for end in ends.split())


VIDEOS = Media(
    field="video",
    noun="video",
    endings=(".mp4", ".webm", ".avi", ".mov", ".mkv", ".m4v", ".mpg", ".mpeg", ".gif"),
    columns=("video", "clip", "movie", "film", "path", "file", "filename", "file_name"),
    begins=re.compile(
        rb"....ftyp(?!avif|avis|mif1|heic|M4A|M4B)|\x1aE\xdf\xa3|RIFF....AVI |\0\0\x01[\xb3\xba]|GIF8|FLV\x01|"
        rb"\x30\x26\xb2\x75|\.RMF|....moov|....mdat|DKIF|YUV4MPEG2",
        re.DOTALL,
    ),
    module="av.",
    decoded=decoded_videos,
)
