"""Fetching files from http(s) addresses that a table names: once each, and within limits of size and time."""

import hashlib
import time
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
)

from cuetune.errors import CuetuneError
from cuetune.support.cache_dir import cache_dir
from cuetune.support.files import atomic_file

LARGEST = 200_000_000  # bytes of one file
LONGEST = 60.0  # seconds for one file
SILENT = 15.0  # seconds without a byte
CHUNK = 1 << 16


def fetched(address: str, where: str) -> Path:
    """The file behind an address, in the cache. where: its place in the data, for errors.

    Raises CuetuneError for an address that does not answer, or a file that is too large or comes too slowly.
    """
    path = cache_dir() / "fetched" / hashlib.sha256(address.encode()).hexdigest()
    if path.is_file():
        return path
    try:
        content = _read(address)
    except (URLError, OSError, ValueError) as error:
        reason = str(getattr(error, "reason", None) or error).splitlines()[0][:100] or type(error).__name__
        raise CuetuneError(
            f"{where}: {address[:200]}: cannot be fetched ({reason}); save the file and give its path."
        ) from error
    with atomic_file(path, "wb") as stream:
        stream.write(content)
    return path


def _read(address: str) -> bytes:
    """The bytes behind an address. Raises ValueError where a limit is passed."""
    stop, content = time.monotonic() + LONGEST, bytearray()
    with _opener().open(Request(address, headers={"User-Agent": "cuetune"}), timeout=SILENT) as answer:
        while chunk := answer.read1(CHUNK):
            content += chunk
            if len(content) > LARGEST:
                raise ValueError(f"larger than {LARGEST // 10**6} MB")
            if time.monotonic() > stop:
                raise ValueError(f"not whole after {LONGEST:g} seconds")
        promised = answer.headers.get("Content-Length")
        if promised is not None and promised.isdigit() and len(content) != int(promised):
            raise ValueError(f"{len(content):,} of {int(promised):,} bytes came")
    return bytes(content)


def _opener() -> Any:
    """Speaks http and https and nothing else, also where an address leads to another."""
    opener = OpenerDirector()
    for handler in (ProxyHandler, HTTPHandler, HTTPSHandler, HTTPDefaultErrorHandler, HTTPErrorProcessor, _Redirects):
        opener.add_handler(handler())
    return opener


class _Redirects(HTTPRedirectHandler):
    max_redirections = 5
