"""Bare arrays of other tools are read without running anything in them."""

import pickle

import numpy as np
import pytest
import torch

from cuetune.errors import CuetuneError
from cuetune.library.tuned import TunedPrompt
from cuetune.tasks.task import Task

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
