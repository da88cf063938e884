"""What counts as the same content where a row is no text: the same bytes, wherever they lie."""

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Any

from cuetune.data.media.decoded import Decoded
from cuetune.data.media.opening import OpenFile


def content_key(value: Any) -> str:
    """SHA-256 (hex) of a file's bytes, of bytes, or of the numbers of a decoded image or audio file.

    A file that cannot be read is known by its path: that it is missing is told where it is decoded.
    """
    if isinstance(value, Decoded):
        return value.key or content_key(value.source)
    if isinstance(value, OpenFile):
        with value.again() as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    if isinstance(value, dict):  # as `datasets` keeps files
        held = [value[name] for name in ("bytes", "array") if value.get(name) is not None]
        value = held[0] if held else Path(str(value.get("path")))
    if isinstance(value, Path):
        try:
            stat = value.stat()
            return _file_key(str(value), stat.st_mtime_ns, stat.st_size)
        except OSError:
            return _hash(str(value).encode())
    if isinstance(value, bytes | bytearray):
        return _hash(value)
    if hasattr(value, "mode") and hasattr(value, "tobytes"):  # Pillow's images; their size is no part of the bytes
        return _hash(f"{value.mode}{value.size}".encode() + value.tobytes())
    return _hash(value.tobytes() if hasattr(value, "tobytes") else repr(value).encode())


@lru_cache(maxsize=200_000)
def _file_key(path: str, changed: int, size: int) -> str:
    """The hash of a file, remembered while the file stays as it is."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _hash(content: bytes | bytearray) -> str:
    return hashlib.sha256(content).hexdigest()
