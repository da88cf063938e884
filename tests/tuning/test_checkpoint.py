"""Checkpoints that were damaged, of another shape, or written before they had a seal."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from cuetune.errors import CuetuneError
from cuetune.tuning.checkpoint import NAME, Progress, load_checkpoint, restore_optimizer, save_checkpoint

WEIGHT = torch.nn.Parameter(torch.arange(6.0))


def stepped():
    optimizer = torch.optim.AdamW([WEIGHT], lr=0.1)
    WEIGHT.grad = torch.ones(6)
    optimizer.step()
    return optimizer


def saved(folder, **progress):
    optimizer = stepped()
    trained, best = ({"w": WEIGHT.detach().clone()} for _ in range(2))
    save_checkpoint(folder, "key", Progress(3, 2, {"loss": 0.5}, **progress), trained, best, optimizer)
    return folder / NAME, optimizer


def changed(path, progress=None, **tensors):
    """Written anew without a seal, as before there was one."""
    kept = {**load_file(path), **tensors}
    save_file(kept, path, {"key": "key", "progress": json.dumps(progress if progress is not None else {"step": 3})})


def refused(tmp_path, said=NAME):
    with pytest.raises(CuetuneError, match="--restart") as raised:
        load_checkpoint(tmp_path, "key")
    assert said in str(raised.value)


def test_a_checkpoint_comes_back_with_its_optimizer_and_losses_that_are_not_finite(tmp_path):
    _, optimizer = saved(tmp_path, lowest_loss=float("inf"))
    progress, parts = load_checkpoint(tmp_path, "key")
    assert progress == Progress(3, 2, {"loss": 0.5}, lowest_loss=float("inf"))
    other = torch.optim.AdamW([WEIGHT], lr=0.1)
    restore_optimizer(other, parts["optimizer"])
    ours, theirs = (each.state_dict()["state"][0] for each in (optimizer, other))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_flipped_bit_anywhere_is_refused(tmp_path):
    path, _ = saved(tmp_path)
    whole = path.read_bytes()
    for at in range(0, len(whole), 17):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
        refused(tmp_path)


def test_a_checkpoint_of_before_loads_where_its_numbers_are_finite(tmp_path):
    path, _ = saved(tmp_path)
    changed(path)
    assert load_checkpoint(tmp_path, "key")[0] == Progress(step=3)
    changed(path, **{"trained.w": torch.full((6,), float("nan"))})
    refused(tmp_path, "trained.w holds numbers that are not finite")


@pytest.mark.parametrize(
    "progress",
    [[], 5, "text", {"step": "x"}, {"step": 10**400}, {"best_scores": 5}, {"step": None}, {"step": [[]]}],
)
def test_progress_of_another_shape_is_refused(tmp_path, progress):
    path, _ = saved(tmp_path)
    changed(path, progress)
    refused(tmp_path)


@pytest.mark.parametrize("name", ["evil.w", "trained", "", "optimizer.x.step"])
def test_tensors_of_no_part_are_refused(tmp_path, name):
    path, _ = saved(tmp_path)
    changed(path, **{name: torch.ones(1)})
    refused(tmp_path)
