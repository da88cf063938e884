"""Whether an audio file is whole: what its header promises, against what is there.

libsndfile hands out what it finds of a file that was cut off, and says so in its log alone.
"""

import re
from typing import Any

UNKNOWN = 2**31 - 2**16  # bytes: what is written where the length was not known yet, as into a pipe, is about as large
SIZES = re.compile(r"\b(?:data|SSND|BODY|riff|Data Size|Data length)\s*:?\s*(\d+) \(?should be (\d+)")
COUNTS = re.compile(r"frame count (\d+) does not match value from 'ds64' chunk of (\d+)")
TAIL = 2 * 65_307  # bytes that hold the last page of an Ogg file whole
# MPEG audio: bits a second / 1000 by layer and version, samples a second by version, samples a frame.
RATES = {
    (1, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
SAMPLES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}


def missing(file: Any, stream: Any, asked: int, read: int) -> str:
    """What an open file lacks, in a few words; empty of a whole one.

    file: of soundfile, after `read` of `asked` samples were read. stream: its bytes.
    """
    if file.format == "MP3":
        return _of_mp3(stream, file.frames, asked, read)
    if read < min(asked, file.frames):
        return f"{read:,} of {file.frames:,} samples"
    if file.format == "OGG":
        return "its last page is cut off" if _ogg_is_cut(stream) else ""
    if file.format == "FLAC" and asked < file.frames:
        return "" if _has_last(file) else f"not all of {file.frames:,} samples"
    return _of_log(file.extra_info, file.frames)


def _of_log(log: str, frames: int) -> str:
    """What libsndfile wrote down of lengths that do not fit."""
    for promised, found in (tuple(map(int, pair)) for pair in SIZES.findall(log)):
        if promised < UNKNOWN and (promised - found) * max(frames, 1) >= max(found, 1):  # a whole sample or more
            return f"{found:,} of {promised:,} bytes"
    for found, promised in COUNTS.findall(log):
        if int(found) < int(promised):
            return f"{int(found):,} of {int(promised):,} samples"
    return "its end is cut off" if "seems to be truncated" in log else ""


def _has_last(file: Any) -> bool:
    """Whether the last sample can be decoded."""
    try:
        file.seek(file.frames - 1)
        return len(file.read(1)) == 1
    except (RuntimeError, ValueError):
        return False


def _ogg_is_cut(stream: Any) -> bool:
    """Whether the last page of an Ogg file is shorter than it says."""
    size = stream.seek(0, 2)
    stream.seek(max(0, size - TAIL))
    tail = stream.read()
    start = tail.rfind(b"OggS")
    if start < 0:
        return False
    page = tail[start:]
    if len(page) < 27 or len(page) < 27 + page[26]:
        return True
    return len(page) < 27 + page[26] + sum(page[27 : 27 + page[26]])


def _of_mp3(stream: Any, frames: int, asked: int, read: int) -> str:
    """An MP3's first frame often says how many bytes there are; where it does not, its last frame must be whole."""
    stream.seek(0)
    content = stream.read()
    start = _first_frame(content)
    if start is None:
        return ""
    if stated := _stated_bytes(content[start : start + 200]):
        found = len(content) - start
        if found < stated:
            return f"{found:,} of {stated:,} bytes"
        return f"{read:,} of {frames:,} samples" if read < min(asked, frames) else ""
    at = start
    while length := _frame_length(content, at):
        at += length
    begun = len(content) - at < 4 and content[at : at + 1] == b"\xff"
    return "its last frame is cut off" if at > len(content) or begun else ""


def _first_frame(content: bytes) -> int | None:
    """Where the first frame begins that another one follows; None where there is none."""
    at = 0
    if content[:3] == b"ID3" and len(content) > 10:
        at = 10 + sum((each & 127) << shift for each, shift in zip(content[6:10], (21, 14, 7, 0), strict=True))
    for place in range(at, min(len(content), at + 65_536)):
        length = _frame_length(content, place)
        if length and (_frame_length(content, place + length) or place + length >= len(content)):
            return place
    return None


def _stated_bytes(frame: bytes) -> int | None:
    """The bytes that a first frame of Xing's kind says there are."""
    mark = max(frame.find(b"Xing"), frame.find(b"Info"))
    if mark < 0 or len(frame) < mark + 16:
        return None
    flags = frame[mark + 7]
    if not flags & 2:
        return None
    at = mark + 8 + (4 if flags & 1 else 0)
    return int.from_bytes(frame[at : at + 4], "big")


def _frame_length(content: bytes, at: int) -> int:
    """Bytes of the frame that begins here; 0 where none does."""
    if at + 4 > len(content) or content[at] != 0xFF or content[at + 1] & 0xE0 != 0xE0:
        return 0
    version, layer = (content[at + 1] >> 3) & 3, 4 - ((content[at + 1] >> 1) & 3)
    rate, sample = content[at + 2] >> 4, (content[at + 2] >> 2) & 3
    if version == 1 or layer == 4 or rate in (0, 15) or sample == 3:
        return 0
    bits = 1000 * RATES[1 if version == 3 else 2, layer][rate - 1]
    hertz, padding = SAMPLES[version][sample], (content[at + 2] >> 1) & 1
    if layer == 1:
        return 4 * (12 * bits // hertz + padding)
    return (72 if layer == 3 and version != 3 else 144) * bits // hertz + padding
