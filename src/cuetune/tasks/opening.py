"""Opening content that is no text, wherever it lies: every fault is one line that says where it is."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cuetune.errors import CuetuneError


def opened(source: Any, where: str, noun: str) -> tuple[Any, str]:
    """A stream of the content's bytes, and what to call it.

    source: a path, bytes, or `{"bytes": …, "path": …}` as `datasets` keeps files. where: its place in the data. noun:
    what people call it: "picture", "clip". Raises CuetuneError for anything missing or empty.
    """
    if isinstance(source, Mapping):
        content, path = source.get("bytes"), source.get("path")
        source = content if content is not None else path
        where = f"{where} ({Path(path).name})" if content is not None and path else where
    if isinstance(source, bytes | bytearray | memoryview):
        if not len(source):
            raise CuetuneError(f"{where}: an empty {noun}; replace it or remove the row.")
        return io.BytesIO(source), where
    if not isinstance(source, str | Path) or not str(source).strip():
        raise CuetuneError(f"{where}: no {noun} but {type(source).__name__} {str(source)[:40]!r}; give a path.")
    return _file(Path(source), where, noun)


def _file(path: Path, where: str, noun: str) -> tuple[Any, str]:
    name = str(path) if where in ("", str(path)) else f"{where}: {path}"
    try:
        if path.is_dir():
            raise CuetuneError(f"{name}: is a folder; give the path of a {noun}.")
        if not path.stat().st_size:
            raise CuetuneError(f"{name}: the file is empty; replace it or remove the row.")
        return path.open("rb"), name
    except FileNotFoundError:
        raise CuetuneError(
            f"{name}: no such file; paths are taken from the folder of the table, then as they are."
        ) from None
    except OSError as error:
        raise CuetuneError(f"{name}: cannot be read ({error.strerror}).") from error
