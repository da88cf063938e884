"""Bare arrays of other tools are read without running anything in them."""

import io
import pickle
import struct
import zipfile

import numpy as np
import pytest
import torch

from cuetune.data.task import Task
from cuetune.errors import CuetuneError
from cuetune.library.tuned import TunedPrompt

EMBEDDINGS = torch.randn(3, 8, generator=torch.Generator().manual_seed(0))


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("code in a prompt file was run",))


def test_google_and_ibm_arrays_load(tmp_path):
    np.save(tmp_path / "prompt.npy", EMBEDDINGS.numpy())
    (tmp_path / "ibm").mkdir()
    torch.save(EMBEDDINGS, tmp_path / "ibm" / "decoder.pt")
    torch.save({"prompt": EMBEDDINGS[None]}, tmp_path / "one.pt")
    task = Task(labels=("a", "b"))
    for path in (tmp_path / "prompt.npy", tmp_path / "ibm", tmp_path / "one.pt"):
        read = TunedPrompt.load(path, task)
        assert torch.equal(read.prompt.embeddings, EMBEDDINGS)
        assert (read.task, read.backbone.hidden_size) == (task, 8)
        assert torch.equal(TunedPrompt.load(read.save(tmp_path / f"{path.stem}-saved")).prompt.embeddings, EMBEDDINGS)


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (lambda path: path.with_suffix(".npy").write_bytes(pickle.dumps(Bomb())), "not a plain array"),
        (lambda path: np.save(path.with_suffix(".npy"), np.array([Bomb()], dtype=object)), "not a plain array"),
        (lambda path: torch.save(Bomb(), path.with_suffix(".pt")), "not a plain array"),
        (lambda path: path.with_suffix(".pt").write_bytes(b"PK\x03\x04 cut"), "not a plain array"),
        (lambda path: torch.save({"a": EMBEDDINGS, "b": EMBEDDINGS}, path.with_suffix(".pt")), "not one array"),
        (lambda path: np.save(path.with_suffix(".npy"), np.arange(6).reshape(2, 3)), "expected floating-point"),
        (lambda path: np.save(path.with_suffix(".npy"), np.full((2, 3), np.nan)), "not finite"),
    ],
)
def test_anything_else_is_one_line_and_nothing_is_run(tmp_path, write, said):
    write(tmp_path / "p")
    (path,) = tmp_path.iterdir()
    with pytest.raises(CuetuneError, match=said) as caught:
        TunedPrompt.load(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def numpy_header(shape, there=b""):
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + there


def zipped(path, change, method=zipfile.ZIP_STORED):
    """A file of torch with its parts changed. change: name -> content, or None for as it is."""
    whole = io.BytesIO()
    torch.save(EMBEDDINGS, whole)
    with zipfile.ZipFile(whole) as old, zipfile.ZipFile(path, "w", method) as new:
        for name in old.namelist():
            new.writestr(name, change(name.split("/", 1)[1], old.read(name)))


def longer(name, content):
    """The pickle says ten million numbers where there are 24: torch would read what lies behind them in memory."""
    if name != "data.pkl":
        return content
    asked = struct.pack("<i", 10**7)
    return content.replace(b"K\x18", b"J" + asked, 1)  # how many numbers the storage has


HOSTILE = {
    "terabytes.npy": numpy_header((10**6, 10**6)),
    "digits.npy": numpy_header((10**400,)),
    "negative.npy": numpy_header((-3, -8), bytes(96)),
    "short.npy": numpy_header((3, 8), bytes(95)),
    "long.npy": numpy_header((3, 8), bytes(97)),
    "deep.npy": b"\x93NUMPY\x01\x00" + struct.pack("<H", 9000) + b"(" * 9000,
    "empty.npy": b"",
    "empty.pt": b"",
    "old.pt": pickle.dumps({"a": 1}),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_files_that_ask_for_more_than_they_hold_are_one_line(tmp_path, name):
    (tmp_path / name).write_bytes(HOSTILE[name])
    with pytest.raises(CuetuneError, match="not a plain array"):
        TunedPrompt.load(tmp_path / name)


def test_a_storage_longer_than_its_file_is_refused_before_it_is_read(tmp_path):
    zipped(tmp_path / "same.pt", lambda _, content: content)
    assert torch.equal(TunedPrompt.load(tmp_path / "same.pt").prompt.embeddings, EMBEDDINGS)
    zipped(tmp_path / "longer.pt", longer)
    with pytest.raises(
        CuetuneError, match="more numbers than it holds|not a plain array"
    ):  # newer versions of torch ask
        TunedPrompt.load(tmp_path / "longer.pt")


def test_a_view_that_repeats_few_numbers_without_end_is_refused(tmp_path):
    torch.save(torch.ones(1, 1).expand(10**6, 10**6), tmp_path / "view.pt")
    assert (tmp_path / "view.pt").stat().st_size < 10_000
    with pytest.raises(CuetuneError, match="more numbers than it holds"):
        TunedPrompt.load(tmp_path / "view.pt")


def test_a_file_that_unpacks_to_more_than_a_prompt_is_refused(tmp_path):
    zipped(tmp_path / "bomb.pt", lambda name, c: bytes(2**21) if name == "data.pkl" else c, zipfile.ZIP_DEFLATED)
    assert (tmp_path / "bomb.pt").stat().st_size < 10_000
    with pytest.raises(CuetuneError, match="too large for a prompt"):
        TunedPrompt.load(tmp_path / "bomb.pt")
    for name in ("large.npy", "large.pt"):
        with (tmp_path / name).open("wb") as stream:
            stream.truncate(2**40)
        with pytest.raises(CuetuneError, match="too large for a prompt"):
            TunedPrompt.load(tmp_path / name)


@pytest.mark.parametrize("made", [torch.eye(3).to_sparse(), torch.ones(2, 2, device="meta"), torch.ones(2, 3) * 1j])
def test_other_kinds_of_tensors_are_refused(tmp_path, made):
    torch.save(made, tmp_path / "p.pt")
    with pytest.raises(CuetuneError):
        TunedPrompt.load(tmp_path / "p.pt")
