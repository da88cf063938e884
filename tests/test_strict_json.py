"""JSON beyond a limit is one line, and costs no more than reading it; JSON within all limits is what `json` reads."""

import json
import os
import time
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cuetune.errors import CuetuneError
from cuetune.support.strict_json import Limits, parse_json, read_json

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**60), 10**60) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(json_values, st.booleans())
def test_what_is_within_the_limits_is_read_as_json_reads_it(values, ascii_only):
    text = json.dumps(values, ensure_ascii=ascii_only)
    if not ascii_only and not _has_utf8(text):
        return
    try:
        read = parse_json(text, "f.json")
    except CuetuneError:
        assert not _has_utf8(json.dumps(values, ensure_ascii=False))
        return
    assert read == values


def _has_utf8(text):
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[" * 65 + "]" * 65, "nested more than 64 deep"),
        ('{"a":' * 900 + "1" + "}" * 900, "nested more than 64 deep"),
        ("[" * 10**7, "values"),
        ("[" + "1," * 2_000_000 + "1]", "more than 1,000,000 values"),
        ("[" + "{}," * 2_000_000 + "1]", "more than 1,000,000 values"),
        ("9" * 65, "an integer of 65 digits"),
        ("9" * 5000, "an integer of 5000 digits"),
        ("NaN", "NaN is no number"),
        ("-Infinity", "-Infinity is no number"),
        ("1e999", "beyond floating-point numbers"),
        ('"\\ud800"', "surrogates not allo"),
        (b'"\xff"', "can't decode byte 0xff"),
        ('"a', "line 1"),
        ("", "line 1"),
        ("\udcff", "surrogates not allo"),
        (" " * (17 * 2**20), "17 MiB, expected at most 16"),
    ],
)
def test_what_is_beyond_a_limit_is_one_line_and_cheap(text, said):
    tracemalloc.start()
    began = time.monotonic()
    with pytest.raises(CuetuneError, match="^f.json: not JSON") as raised:
        parse_json(text, "f.json")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert said in str(raised.value)
    assert str(raised.value).isprintable()
    assert time.monotonic() - began < 10
    assert peak < 80 * 2**20


def test_brackets_inside_of_texts_are_no_depth():
    values = {"a": "[" * 1000 + '"\\' + "{" * 1000, "b": ["\\", '"', "]" * 100]}
    assert parse_json(json.dumps(values), "f.json") == values


def test_a_limit_is_the_largest_that_passes():
    assert parse_json("[" * 64 + "]" * 64, "f.json")
    assert parse_json("9" * 64, "f.json") == int("9" * 64)
    assert parse_json("[1,2]", "f.json", Limits(values=2)) == [1, 2]
    with pytest.raises(CuetuneError, match="more than 2 values"):
        parse_json("[1,2,3]", "f.json", Limits(values=2))


def test_files_that_are_no_plain_files_are_named(tmp_path):
    with pytest.raises(CuetuneError, match="no such file"):
        read_json(tmp_path / "nothing.json")
    os.mkfifo(tmp_path / "fifo.json")
    for path in (tmp_path, tmp_path / "fifo.json"):
        with pytest.raises(CuetuneError, match=f"{path}: cannot be read"):
            read_json(path)
    large = tmp_path / "large.json"
    with large.open("wb") as stream:
        stream.truncate(2**40)
    with pytest.raises(CuetuneError, match="too large"):
        read_json(large)
