"""Standard output and standard error that take any text, and whose failures are one line.

What an encoding lacks is replaced. A full disk behind standard output is an `OutputError`, a pipe that nobody reads
any more a `ReaderGoneError`. Standard error never fails: what cannot be said there cannot be said at all.
"""

import codecs
import errno
import io
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from cuetune.errors import CuetuneError
from cuetune.visible import escape

# What stands in for characters that are common in tables and sentences, one for one so that columns stay aligned.
NEAREST = dict(zip("–—−‐‑…·×→←↑↓⏎‘’“”„•", "----" + '-.*x><^v|\'\'"""*', strict=True))
REPLACED = "cuetune.nearest"


class OutputError(CuetuneError):
    """Standard output cannot be written."""


class ReaderGoneError(OutputError):
    """Nobody reads standard output any more (a closed pipe)."""


class Output:
    """A standard stream. required: whether a failure to write is an error."""

    def __init__(self, stream: Any, required: bool) -> None:
        self._stream, self._required = stream, required

    def write(self, text: str) -> int:
        with self._failing():
            try:
                self._stream.write(text)
            except UnicodeEncodeError:
                encoding = self._stream.encoding
                self._stream.write(text.encode(encoding, REPLACED).decode(encoding))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        with self._failing():
            self._stream.flush()

    def abandon(self) -> None:
        """Let what is still in the buffer go nowhere, so that the interpreter's last flush has nothing to complain of.

        For a program that owns the stream and is about to end.
        """
        with suppress(OSError, ValueError):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self._stream.fileno())
            os.close(null)

    @contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if self._required:
                gone = error.errno == errno.EPIPE
                reason = error.strerror or str(error)
                raise (ReaderGoneError if gone else OutputError)(f"standard output: cannot write: {reason}.") from error

    def __getattr__(self, name: str) -> Any:
        if name == "_stream":  # of a copy that is not made yet
            raise AttributeError(name)
        return getattr(self._stream, name)


def output(stream: Any, required: bool) -> Output:
    """This stream as an `Output`; None (no standard stream at all) as one that forgets."""
    return stream if isinstance(stream, Output) else Output(stream or io.StringIO(), required)


@contextmanager
def standard_streams() -> Iterator[Output]:
    """Let everything that prints use `Output`s: help, libraries, warnings. Yields standard output.

    For the command line, whose process it is; what stood there before comes back.
    """
    before = sys.stdout, sys.stderr
    out = output(sys.stdout, required=True)
    sys.stdout, sys.stderr = out, output(sys.stderr, required=False)  # type: ignore[assignment]
    try:
        yield out
    finally:
        sys.stdout, sys.stderr = before


def _replaced(error: UnicodeError) -> tuple[str, int]:
    """An error handler of `codecs`: the nearest ASCII character, an escape for half a character, else "?"."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    char = error.object[error.start]
    return (escape(char) if "\ud800" <= char <= "\udfff" else NEAREST.get(char, "?")), error.start + 1


codecs.register_error(REPLACED, _replaced)
