"""From a cell of a table to where its content lies: a path, an address, or the content itself written as text."""

import base64
import binascii
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit
from urllib.request import url2pathname

from cuetune.data.sources import Source

ADDRESS = re.compile(r"https?://", re.IGNORECASE)
BASE64 = re.compile(r"[A-Za-z0-9+/_\-\s]{64,}={0,2}\s*")
DATA = re.compile(r"data:(?P<kind>[\w.+-]+/[\w.+-]+)?(?P<more>(;[^,;]*)*),(?P<content>.*)", re.DOTALL)
LONGEST = 4096  # characters of a path


class Address(str):
    """An http(s) address that the user allows to be fetched."""


class Inline(str):
    """A cell in which a file is written as text. content: the file's bytes."""

    content: bytes

    @classmethod
    def of(cls, cell: str, content: bytes) -> "Inline":
        made = cls(cell)
        made.content = content
        return made


def located(cell: str, folder: Path | None, source: Source, begins: Callable[[bytes], Any], named: bool = False) -> str:
    """A path (str), an `Address` or an `Inline` where the cell names or holds a file; else the cell as it is.

    Paths are taken from `source.media_root`, then from the table's folder, then as they are. begins: whether bytes are
    of the kind that is looked for. named: the cell is a path even if there is no such file.
    """
    if ADDRESS.match(cell):
        return Address(cell) if source.allow_download else cell
    if cell.startswith("data:"):
        return inline(cell)
    if cell.lower().startswith("file:"):
        return _from_file_address(cell)
    if BASE64.fullmatch(cell) and (content := _decoded(cell)) and begins(content):
        return Inline.of(cell, content)
    return _path(cell, [each for each in (source.media_root, folder) if each is not None], named)


def inline(cell: str) -> str:
    """A `data:` address with its bytes; the cell itself where it is broken, which is told when it is opened."""
    parts = DATA.fullmatch(cell)
    if parts is None:
        return cell
    content = unquote_to_bytes(parts["content"])
    if ";base64" in (parts["more"] or "").lower():
        content = _decoded(content.decode("ascii", "replace")) or b""
    return Inline.of(cell, content) if content else cell


def _decoded(text: str) -> bytes | None:
    """The bytes that base64, plain or for addresses, stands for; None where it is broken."""
    plain = re.sub(r"\s", "", text).replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None


def _from_file_address(cell: str) -> str:
    parts = urlsplit(cell)
    return url2pathname(parts.path) if parts.netloc in ("", "localhost") else cell


def _path(cell: str, folders: list[Path], named: bool) -> str:
    """The first place where there is such a file; else, of a path, the first place, whose error names it."""
    if not cell.strip() or len(cell) > LONGEST or "\n" in cell or "\0" in cell or Path(cell).is_absolute():
        return cell
    for spelled in dict.fromkeys((cell, cell.replace("\\", "/"))):  # a table may come from Windows
        for place in (*(folder / spelled for folder in folders), Path(spelled)):
            if _is_file(place):
                return str(place)
    return str(folders[0] / cell) if folders and named else cell


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long
        return False
