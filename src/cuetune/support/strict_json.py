"""JSON that somebody else may have written, read within limits: bytes, depth, number of values, range of numbers.

All limits are checked on the bytes, before anything is built from them, so that no file costs more than its size says.
"""

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cuetune.errors import CuetuneError

# What values that are not as they should be can make Python, torch and numpy raise. MemoryError, RecursionError (a
# RuntimeError) and OverflowError (an ArithmeticError) are among what a damaged file does.
DAMAGED = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    RuntimeError,
    TypeError,
    ValueError,
)
TEXT = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)
BRACKET = re.compile(rb"[\[\]{}]")
COPY = "copy the file again"
DIGITS = 64  # of an integer: more than any count, and few enough to become a float


@dataclass(frozen=True)
class Limits:
    """size: bytes. depth: brackets inside each other. values: all values together. nan: whether NaN is a number.

    halves: whether half a character (a lone surrogate, as JSON escapes it) is text.
    """

    size: int = 16 * 2**20  # thousands of labels and tens of thousands of token ids are a tenth of this
    depth: int = 64
    values: int = 1_000_000
    nan: bool = False
    halves: bool = False


PLAIN = Limits()


def read_json(path: Path, limits: Limits = PLAIN, remedy: str = COPY) -> Any:
    """The values of a JSON file. remedy: what to do about a damaged one. Raises CuetuneError naming the file."""
    return parse_json(read_limited(path, limits.size, remedy), str(path), limits, remedy)


def read_limited(path: Path, largest: int, remedy: str = COPY) -> bytes:
    """The bytes of a plain file. Raises CuetuneError for one that is larger, is none, or cannot be read."""
    try:
        if path.exists() and not path.is_file():
            raise CuetuneError(f"{path}: cannot be read (not a plain file); {remedy}.")
        if (size := path.stat().st_size) > largest:
            raise CuetuneError(f"{path}: {size / 2**20:,.0f} MiB is too large; expected at most {largest >> 20} MiB.")
        return path.read_bytes()
    except FileNotFoundError:
        raise CuetuneError(f"{path}: no such file; check the name and the folder.") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = getattr(error, "strerror", None) or str(error)
        raise CuetuneError(f"{path}: cannot be read ({reason}); {remedy}.") from error


def parse_json(content: bytes | str, where: str, limits: Limits = PLAIN, remedy: str = COPY) -> Any:
    """The values of a JSON text. where: its place, as messages begin. Raises CuetuneError for what is beyond `limits`.

    Strict: no NaN and no infinity (unless `limits.nan`), no integer of more than 64 digits, no half of a character.
    """
    try:
        data = content.encode() if isinstance(content, str) else content
        if fault := beyond(data, limits):
            raise ValueError(fault)
        constant = float if limits.nan else _no_number
        number = float if limits.nan else _finite
        values = json.loads(data.decode(), parse_int=_integer, parse_float=number, parse_constant=constant)
        if b"\\u" in data and not limits.halves:  # the only way to half a character
            json.dumps(values, ensure_ascii=False).encode()
        return values
    except json.JSONDecodeError as error:
        raise CuetuneError(f"{where}: not JSON (line {error.lineno}: {error.msg}); {remedy}.") from error
    except DAMAGED as error:
        raise CuetuneError(f"{where}: not JSON ({reason_of(error)}); {remedy}.") from error


def beyond(data: bytes, limits: Limits) -> str:
    """Which limit a JSON text is beyond, in words; empty for none."""
    if len(data) > limits.size:
        return f"{len(data) / 2**20:,.0f} MiB, expected at most {limits.size >> 20}"
    bare = TEXT.sub(b"", data)
    if bare.count(b",") + bare.count(b"[") + bare.count(b"{") > limits.values:
        return f"more than {limits.values:,} values"
    depth = 0
    for bracket in BRACKET.finditer(bare):
        depth += 1 if bracket[0] in b"[{" else -1
        if depth > limits.depth:
            return f"nested more than {limits.depth} deep"
    return ""


def reason_of(error: BaseException, length: int = 80) -> str:
    """What an exception says, on one line that steers no terminal."""
    words = " ".join(str(error).split()) or type(error).__name__
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in words)[:length]


def _integer(digits: str) -> int:
    if len(digits) > DIGITS:
        raise ValueError(f"an integer of {len(digits)} digits")
    return int(digits)


def _finite(digits: str) -> float:
    if not math.isfinite(value := float(digits)):
        raise ValueError(f"{digits[:20]} is beyond floating-point numbers")
    return value


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no number")
