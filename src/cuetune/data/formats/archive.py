"""Zip files of data: the one file in it, or the one that is named, read from a copy that vanishes."""

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from zipfile import BadZipFile, ZipFile, ZipInfo

from cuetune.data.formats.text_file import suffix_of
from cuetune.data.row import Row
from cuetune.data.split_names import split_named
from cuetune.errors import CuetuneError


def members(path: Path, endings: Sequence[str]) -> list[ZipInfo]:
    """The files of data in an archive. Raises CuetuneError for what is none, or holds none."""
    try:
        with ZipFile(path) as archive:
            found = [each for each in archive.infolist() if _is_data(each, endings)]
    except (BadZipFile, OSError) as error:
        if isinstance(error, PermissionError):
            raise
        raise CuetuneError(f"{path}: not a whole zip file ({error}); fetch it again.") from error
    if not found:
        raise CuetuneError(f"{path}: no file of data in it; expected one that ends in {', '.join(endings)}.")
    return found


def _is_data(member: ZipInfo, endings: Sequence[str]) -> bool:
    path = PurePosixPath(member.filename)
    hidden = any(part.startswith((".", "__MACOSX")) for part in path.parts)
    return not member.is_dir() and not hidden and suffix_of(Path(path.name)) in endings


def splits_in(path: Path, endings: Sequence[str]) -> dict[str, str]:
    """Split -> the file of it, where an archive holds several that are named so."""
    found = members(path, endings)
    names = {split: each.filename for each in found if (split := split_named(PurePosixPath(each.filename).stem))}
    return names if len(names) == len(found) > 1 else {}


def read_archive(
    path: Path, endings: Sequence[str], name: str | None, read: Callable[[Path], Iterator[Row]]
) -> Iterator[Row]:
    """Rows of a file in an archive. name: of the file or of its split, needed where there are several."""
    found = members(path, endings)
    splits = splits_in(path, endings)
    wanted = splits.get(name or "train", name)
    chosen = [each for each in found if wanted is None or wanted in (each.filename, Path(each.filename).name)]
    if len(chosen) != 1:
        there = ", ".join(each.filename for each in found[:6]) + (", …" if len(found) > 6 else "")
        what = f"no file {name!r}" if name else f"{len(found)} files of data"
        raise CuetuneError(f"{path}: {what}; name one of them with {path.name}@NAME: {there}.")
    with tempfile.TemporaryDirectory() as folder:
        copy = _extracted(path, chosen[0], Path(folder))
        try:
            yield from read(copy)
        except CuetuneError as error:
            raise CuetuneError(str(error).replace(f"{folder}/", f"{path}/")) from error


def _extracted(path: Path, member: ZipInfo, folder: Path) -> Path:
    """A copy of a file in an archive. Raises CuetuneError where it does not fit, is damaged or has a password."""
    copy = folder / PurePosixPath(member.filename).name
    if member.file_size > shutil.disk_usage(folder).free:
        raise CuetuneError(f"{path}: {member.filename} takes {member.file_size:,} bytes, and {folder} has no room.")
    try:
        with ZipFile(path) as archive, archive.open(member) as source, copy.open("wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
    except (BadZipFile, RuntimeError, NotImplementedError, EOFError, OSError) as error:
        raise CuetuneError(f"{path}: {member.filename} cannot be unpacked ({error}); unpack it yourself.") from error
    return copy
