"""Opening content that is no text, wherever it lies: every fault is one line that says where it is."""

import io
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cuetune.data.media.download import fetched
from cuetune.data.media.location import ADDRESS, Address
from cuetune.errors import CuetuneError


@dataclass(frozen=True)
class OpenFile:
    """A file that is opened once and read from its beginning as often as it is asked for, by one reader at a time."""

    stream: Any
    name: str
    path: Path

    def again(self) -> Any:
        """A stream of all its bytes, which may be closed."""
        self.stream.seek(0)
        return os.fdopen(os.dup(self.stream.fileno()), "rb")


@contextmanager
def opened_once(source: Any, where: str, noun: str) -> Iterator[Any]:
    """What stands for a source while it is read several times: of a path an `OpenFile`, of all else the source."""
    if not isinstance(source, Path):
        yield source
        return
    stream, name = opened(source, where, noun)
    with stream:
        yield OpenFile(stream, name, source)


def opened(source: Any, where: str, noun: str) -> tuple[Any, str]:
    """A stream of the content's bytes, and what to call it.

    source: a path, an `OpenFile`, bytes, or `{"bytes": …, "path": …}` as `datasets` keeps files. where: its place in
    the data. noun: what people call it: "image", "video". Raises CuetuneError for anything missing or empty.
    """
    if isinstance(source, OpenFile):
        return source.again(), source.name
    if isinstance(source, Mapping):
        content, path = source.get("bytes"), source.get("path")
        source = content if content is not None else path
        where = f"{where} ({Path(path).name})" if content is not None and path else where
    if source is None or (isinstance(source, float) and source != source):
        raise CuetuneError(f"{where}: an empty cell and no {noun}; fill it or remove the row.")
    if isinstance(source, Address):
        return _file(fetched(source, where), where, noun)
    if isinstance(source, str):
        _refuse_address(source, where, noun)
    if isinstance(source, bytes | bytearray | memoryview):
        if not len(source):
            raise CuetuneError(f"{where}: an empty {noun}; replace it or remove the row.")
        return io.BytesIO(source), where
    if not isinstance(source, str | Path) or not str(source).strip():
        raise CuetuneError(f"{where}: no {noun} but {type(source).__name__} {str(source)[:40]!r}; give a path.")
    return _file(Path(source), where, noun)


def _refuse_address(source: str, where: str, noun: str) -> None:
    """Raise CuetuneError for an address that may not be fetched, or content in a cell that is broken."""
    if ADDRESS.match(source):
        raise CuetuneError(
            f"{where}: {source[:120]} is an address, and nothing is fetched unless you pass --allow-download."
        )
    if source.startswith("data:"):
        raise CuetuneError(
            f"{where}: {source[:40]!r}… is no whole {noun} in a cell (data:TYPE;base64,CONTENT); replace it."
        )


def _file(path: Path, where: str, noun: str) -> tuple[Any, str]:
    name = str(path) if where in ("", str(path)) else f"{where}: {path}"
    try:
        if path.is_dir():
            raise CuetuneError(f"{name}: is a folder; give the path of one {noun}.")
        if not path.stat().st_size:
            raise CuetuneError(f"{name}: the file is empty; replace it or remove the row.")
        return path.open("rb"), name
    except FileNotFoundError:
        raise CuetuneError(
            f"{name}: no such file; paths are taken from the folder of the table, then as they are (--media-root names "
            "another folder)."
        ) from None
    except OSError as error:
        raise CuetuneError(f"{name}: cannot be read ({error.strerror}).") from error
