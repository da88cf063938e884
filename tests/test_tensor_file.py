"""Sealed files: every changed bit is one line; files from before there were seals load, if their numbers are finite."""

import json
import random
import struct

import pytest
import torch
from safetensors.torch import save

from cuetune.errors import CuetuneError
from cuetune.support.tensor_file import read_sealed, read_tensors, write_sealed

TENSORS = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor([1, 2, 3]), "empty": torch.empty(0, 4)}
STATE = {"state": json.dumps({"name": 'a "word" \\ {}', "sha256": "0" * 64})}  # looks like the seal, and is none


def sealed(path, tensors=None):
    with path.open("wb") as stream:
        write_sealed(stream, path, tensors or TENSORS, STATE)
    return path


def refused(path, said=""):
    with pytest.raises(CuetuneError) as raised:
        read_sealed(path, ("state",))
    assert str(raised.value).startswith(str(path))
    assert str(raised.value).isprintable()
    assert said in str(raised.value)


def test_a_sealed_file_comes_back_bit_for_bit(tmp_path):
    tensors, metadata = read_sealed(sealed(tmp_path / "s.safetensors"), ("state",))
    assert metadata == STATE
    assert set(tensors) == set(TENSORS)
    assert all(torch.equal(tensors[name], TENSORS[name]) for name in TENSORS)


def test_every_flipped_bit_is_one_line(tmp_path):
    path = sealed(tmp_path / "s.safetensors")
    whole = path.read_bytes()
    for at in range(len(whole)):
        bit = random.Random(at).randrange(8)
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << bit]) + whole[at + 1 :])
        refused(path)
    path.write_bytes(whole)
    read_sealed(path, ("state",))


def test_every_truncation_is_one_line(tmp_path):
    path = sealed(tmp_path / "s.safetensors")
    whole = path.read_bytes()
    for length in range(0, len(whole), 3):
        path.write_bytes(whole[:length])
        refused(path)


def test_a_file_of_before_without_a_seal_loads_where_its_numbers_are_finite(tmp_path):
    path = tmp_path / "s.safetensors"
    path.write_bytes(save(TENSORS, STATE))
    assert torch.equal(read_sealed(path, ("state",))[0]["a"], TENSORS["a"])
    for wrong in (float("nan"), float("inf")):
        path.write_bytes(save({**TENSORS, "a": TENSORS["a"] * wrong}, STATE))
        refused(path, "a holds numbers that are not finite")
    path.write_bytes(save({**TENSORS, "a": TENSORS["a"].double() * 1e300}, STATE))  # sums are kept in float64
    read_sealed(path, ("state",))


def test_other_metadata_than_those_that_are_known_are_refused(tmp_path):
    path = tmp_path / "s.safetensors"
    for metadata in (None, {}, {"other": "1"}, {**STATE, "other": "1"}):
        path.write_bytes(save(TENSORS, metadata))
        refused(path, "its metadata are")


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_numbers_that_could_not_be_read_again_are_not_written(tmp_path, number):
    path = sealed(tmp_path / "s.safetensors")
    with (tmp_path / "other").open("wb") as stream, pytest.raises(CuetuneError, match="not finite"):
        write_sealed(stream, path, {"a": torch.tensor([number])}, STATE)


def header(values, body=b"", length=None):
    text = json.dumps(values).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + body


HOSTILE = {
    "a header beyond the file": header({}, length=10**6),
    "a header of all memory": header({}, length=2**63),
    "a tensor beyond the file": header({"a": {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 4 * 10**12]}}),
    "sides of 400 digits": header({"a": {"dtype": "F32", "shape": [10**400], "data_offsets": [0, 0]}}),
    "a product beyond 64 bits": header({"a": {"dtype": "F32", "shape": [2**32, 2**32], "data_offsets": [0, 0]}}),
    "a negative side": header({"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 0]}}),
    "a deep header": b"\x10\x27" + bytes(6) + b"[" * 10_000,
    "10,000 tensors": header({str(n): {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for n in range(10**4)}),
    "a list": header([1, 2]),
    "a number": header(1),
    "tensors that overlap": header(
        {name: {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} for name in "ab"}, bytes(8)
    ),
    "offsets that are texts": header({"a": {"dtype": "F32", "shape": [1], "data_offsets": ["0", "4"]}}, bytes(4)),
}


@pytest.mark.parametrize("how", HOSTILE)
def test_a_header_that_asks_for_what_is_not_there_is_one_line(tmp_path, how):
    path = tmp_path / "t.safetensors"
    path.write_bytes(HOSTILE[how])
    with pytest.raises(CuetuneError, match="not a whole safetensors file"):
        read_tensors(path, path.read_bytes())
    refused(path)
