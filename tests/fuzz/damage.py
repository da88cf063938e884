"""Ways to damage a file: bytes changed, cut, repeated or put in; values of JSON, of a header or of YAML replaced."""

import json
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

HUGE = [0, -1, 2**31, 2**63, 10**12, 10**20, 10**400]
TOKENS = [
    *(str(number).encode() for number in HUGE),
    *(b"NaN", b"-Infinity", b"1e999", b"null", b'"\\ud800"', b"\xff\xfe", b"\x00", b"\xed\xa0\x80", b"\xef\xbb\xbf"),
    *(b"[" * 100, b"{" * 100, b'{"a":' * 2000, b"[" * 100_000, b"9" * 5000),
    *(b"- " * 500, b"? " * 300, b"&a *a ", b"!!x "),
    *(b"\n", b",", b'"', b"}", b"]", b":", b"\t", b"'", b"\r", b"\x1b]0;x\x07"),
]
DEEP: Any = 1
for _ in range(300):
    DEEP = [DEEP]
VALUES = st.one_of(
    st.sampled_from([*HUGE, None, True, "", "x", "\x1b[31m", "é" * 50, [], {}, [[]], DEEP, [0] * 1000, 0.5, -1e300]),
    st.integers(-5, 70_000),
    st.text(max_size=8),
    st.lists(st.integers() | st.none() | st.text(max_size=3) | st.lists(st.integers(), max_size=2), max_size=3),
)


@dataclass(frozen=True)
class Edit:
    """One change. at: where, from 0 to 1. value: what is put there, where the change needs one."""

    kind: str
    at: float
    value: Any


EDITS = st.lists(
    st.builds(Edit, st.sampled_from(["flip", "cut", "drop", "repeat"]), st.floats(0, 1), st.integers(0, 2047))
    | st.builds(Edit, st.just("insert"), st.floats(0, 1), st.sampled_from(TOKENS))
    | st.builds(Edit, st.just("values"), st.floats(0, 1), VALUES),
    min_size=1,
    max_size=3,
)


def damaged(content: bytes, edits: list[Edit]) -> bytes:
    """The content after all edits, each a function of (content, place, value)."""
    for edit in edits:
        content = CHANGES[edit.kind](content, edit.at, edit.value)
    return content


def _flip(content: bytes, at: float, value: int) -> bytes:
    place = min(int(at * len(content)), len(content) - 1)
    return content[:place] + bytes([content[place] ^ (value % 255 + 1)]) + content[place + 1 :] if content else b""


def _drop(content: bytes, at: float, value: int) -> bytes:
    place = int(at * len(content))
    return content[:place] + content[place + value % 64 :]


def _repeat(content: bytes, at: float, value: int) -> bytes:
    place = int(at * len(content))
    return content[:place] + content[place : place + value % 64] * (value // 64) + content[place:]


def _insert(content: bytes, at: float, value: bytes) -> bytes:
    place = int(at * len(content))
    return content[:place] + value + content[place:]


def _values(content: bytes, at: float, value: Any) -> bytes:
    """Another value in a JSON document, in the header of a safetensors file, or in the JSON that its metadata hold."""
    for read in (_document, _header):
        try:
            values, write = read(content)
        except (ValueError, RecursionError, struct.error, OverflowError, AttributeError, TypeError):
            continue
        found = list(_places(values))
        if found:
            return write(_changed(values, found[min(int(at * len(found)), len(found) - 1)], value))
    return content


def _document(content: bytes) -> tuple[Any, Callable[[Any], bytes]]:
    return json.loads(content), _dumped


def _header(content: bytes) -> tuple[Any, Callable[[Any], bytes]]:
    (length,) = struct.unpack("<Q", content[:8])
    header, body = json.loads(content[8 : 8 + length]), content[8 + length :]
    inner = {name: json.loads(text) for name, text in header.get("__metadata__", {}).items() if text[:1] in "{["}

    def write(changed: Any) -> bytes:
        whole, said = changed[0], changed[1]
        if isinstance(whole, dict) and isinstance(whole.get("__metadata__"), dict) and isinstance(said, dict):
            whole["__metadata__"] |= {name: _dumped(value).decode() for name, value in said.items()}
        text = _dumped(whole)
        return struct.pack("<Q", len(text)) + text + body

    return [header, inner], write


def _dumped(values: Any) -> bytes:
    return json.dumps(values, ensure_ascii=True).encode()


def _places(values: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    for key in values if isinstance(values, dict) else range(len(values)) if isinstance(values, list) else ():
        yield (*at, key)
        yield from _places(values[key], (*at, key))


def _changed(values: Any, place: tuple[Any, ...], to: Any) -> Any:
    if not place:
        return to
    copied = dict(values) if isinstance(values, dict) else list(values)
    copied[place[0]] = _changed(values[place[0]], place[1:], to)
    return copied


CHANGES: dict[str, Callable[[bytes, float, Any], bytes]] = {
    "flip": _flip,
    "cut": lambda content, at, _: content[: int(at * len(content))],
    "drop": _drop,
    "repeat": _repeat,
    "insert": _insert,
    "values": _values,
}
