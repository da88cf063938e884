"""Text files of users, compressed or not: what they hold, opened as text, whatever their first bytes are."""

import bz2
import codecs
import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from cuetune.errors import CuetuneError


def _zstandard(stream: BinaryIO) -> Any:
    import pyarrow

    return pyarrow.CompressedInputStream(pyarrow.PythonFile(stream, mode="r"), "zstd")


# The first bytes of a compressed file -> what opens it. The bytes decide, not the name.
MAGIC: dict[bytes, Callable[[BinaryIO], Any]] = {
    b"\x1f\x8b": lambda stream: gzip.GzipFile(fileobj=stream),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\x00": lzma.LZMAFile,
    b"\x28\xb5\x2f\xfd": _zstandard,
}
COMPRESSED = (".gz", ".bz2", ".xz", ".zst")
MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
# What a compressed file raises that was cut off or damaged.
BROKEN = (EOFError, gzip.BadGzipFile, lzma.LZMAError, zlib.error)


def suffix_of(path: Path) -> str:
    """The ending that decides the format: ".csv" for reviews.csv and for reviews.csv.gz."""
    return (path.with_suffix("") if path.suffix.lower() in COMPRESSED else path).suffix.lower()


@contextmanager
def open_bytes(path: Path) -> Iterator[Any]:
    """A file's content as bytes, decompressed."""
    with path.open("rb") as stream:
        start = stream.read(6)
        stream.seek(0)
        opener = next((each for magic, each in MAGIC.items() if start.startswith(magic)), None)
        if opener is None:
            yield stream
            return
        with opener(stream) as content:
            yield content


@contextmanager
def open_text(path: Path, encoding: str) -> Iterator[TextIO]:
    """A text file, compressed or not; a byte-order mark is taken for what it is. It can be read from once."""
    try:
        codecs.lookup(encoding)
    except LookupError as error:
        raise CuetuneError(f"{path}: unknown encoding {encoding!r}; use e.g. utf-8, latin-1, cp1252.") from error
    with open_bytes(path) as stream:
        buffered = io.BufferedReader(stream)
        if codecs.lookup(encoding).name == "utf-8":
            start = buffered.peek(3)
            encoding = next((name for mark, name in MARKS.items() if start.startswith(mark)), encoding)
        yield io.TextIOWrapper(buffered, encoding=encoding, newline="")


@contextmanager
def faults_of(path: Path, where: Callable[[], str], encoding: str) -> Iterator[None]:
    """Faults of reading a text file as CuetuneError. where: how far the reading has come, as "after row 3"."""
    try:
        yield
    except UnicodeError as error:
        bad = error.object[error.start : error.start + 1].hex() if isinstance(error, UnicodeDecodeError) else "?"
        raise CuetuneError(
            f"{path}, {where()}: byte 0x{bad} is not {encoding}; save the file as UTF-8, or pass --encoding "
            "latin-1 (or whatever it is)."
        ) from error
    except BROKEN as error:
        kind = "gzip" if isinstance(error, gzip.BadGzipFile) or path.suffix == ".gz" else "compressed"
        raise CuetuneError(f"{path}: broken {kind} file {where()} ({error}); fetch it again.") from error
    except (PermissionError, FileNotFoundError):
        raise
    except OSError as error:
        raise CuetuneError(f"{path}: cannot be read {where()} ({error}).") from error
