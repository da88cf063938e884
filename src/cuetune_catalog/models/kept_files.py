"""Whether a converted model's files are still those that were written: a sample each time, all bytes on request."""

import hashlib
from functools import cache
from pathlib import Path
from typing import IO

from cuetune.errors import CuetuneError
from cuetune.support.strict_json import read_json

SOURCE = "cuetune_source.json"
FILES = "files"  # its key for the digests
WHOLE = 2**20  # bytes up to which all are read
BLOCK, BLOCKS = 2**12, 64  # bytes and number of the blocks that are read of larger files


def digests(folder: Path) -> dict[str, dict[str, str]]:
    """For each file of a folder the SHA-256 of all its bytes, and of a sample."""
    files = sorted(path for path in folder.iterdir() if path.is_file() and path.name != SOURCE)
    return {path.name: {"sha256": _digest(path, whole=True), "sample": _digest(path, whole=False)} for path in files}


def check_files(folder: Path, *, whole: bool = False) -> None:
    """Raise CuetuneError naming the first file that is not as it was written. whole: read all bytes, not a sample.

    A folder of an earlier version, which has no digests, passes.
    """
    remedy = f"remove {folder}, then cuetune models pull {folder.name}"
    source = read_json(folder / SOURCE, remedy=remedy)
    known = source.get(FILES, {}) if isinstance(source, dict) else None
    if not isinstance(known, dict) or not all(isinstance(each, dict) for each in known.values()):
        raise CuetuneError(f"{folder / SOURCE}: is damaged; {remedy}.")
    for name, each in known.items():
        path, kind = folder / Path(name).name, "sha256" if whole else "sample"
        if not path.is_file():
            raise CuetuneError(f"{path}: is missing; {remedy}.")
        if _digest(path, whole=whole) != each.get(kind):
            raise CuetuneError(f"{path}: is not what was converted (SHA-256 differs); {remedy}.")


def check_once(folder: Path) -> None:
    """As `check_files` by a sample, once for each state of the folder: loading a model looks it up several times."""
    found = ((path.name, path.stat()) for path in sorted(folder.iterdir()))
    _checked(folder, tuple((name, stat.st_mtime_ns, stat.st_size) for name, stat in found))


@cache
def _checked(folder: Path, state: tuple[tuple[str, int, int], ...]) -> None:
    check_files(folder)


def _digest(path: Path, *, whole: bool) -> str:
    size = path.stat().st_size
    with path.open("rb") as stream:
        if whole or size <= WHOLE:
            return hashlib.file_digest(stream, "sha256").hexdigest()
        return _sample(stream, size)


def _sample(stream: IO[bytes], size: int) -> str:
    """SHA-256 of the size and of blocks at even distances, the first and the last bytes among them."""
    digest = hashlib.sha256(str(size).encode())
    for number in range(BLOCKS):
        stream.seek(number * (size - BLOCK) // (BLOCKS - 1))
        digest.update(stream.read(BLOCK))
    return digest.hexdigest()
