"""Prompts for images: sizes as published, what they add and where, the same after saving, and every number learns."""

import math

import pytest
import torch

from cuetune.errors import CuetuneError
from cuetune.prompts import FramePrompt, PatchPrompt, Prompt, VisualPrompt
from cuetune.prompts.visual import GROWS
from tiny_vision import LAYERS, PATCH, SIDE, WIDTH, image_backbone, pixels

SHAPE = (3, SIDE, SIDE)
KINDS = {
    "shallow": lambda: VisualPrompt.begin(1, 4, WIDTH, (PATCH, PATCH)),
    "deep": lambda: VisualPrompt.begin(LAYERS, 4, WIDTH, (PATCH, PATCH)),
    "late": lambda: VisualPrompt.begin(2, 4, WIDTH, (PATCH, PATCH), first=1),
    "frame": lambda: FramePrompt.begin(SHAPE, 3),
    "frame, shrunk": lambda: FramePrompt.begin(SHAPE, 3, shrink=True),
    "patch": lambda: PatchPrompt.begin(SHAPE, 6),
    "patch at random": lambda: PatchPrompt.begin(SHAPE, 6, "random", seed=3),
}
each_kind = pytest.mark.parametrize("name", KINDS)


def test_sizes_are_the_published_ones():
    assert VisualPrompt.begin(12, 50, 768, (16, 16)).n_trained == 460_800
    assert VisualPrompt.begin(1, 50, 768, (16, 16)).n_trained == 38_400
    assert FramePrompt.begin((3, 224, 224), 30).n_trained == 69_840
    assert PatchPrompt.begin((3, 224, 224), 50).n_trained == 7_500


def test_vpt_starts_uniform_within_the_papers_bound():
    start = VisualPrompt.begin(12, 50, 768, (16, 16), seed=1)
    bound = math.sqrt(6 / (3 * 16 * 16 + 768))
    assert bound * 0.999 < start.states.abs().max() <= bound * 1.0001
    assert start.size(1.0) == pytest.approx(GROWS * bound / math.sqrt(3), rel=0.01)
    assert abs(start.states.mean()) < 0.001
    again, other = (VisualPrompt.begin(12, 50, 768, (16, 16), seed=seed) for seed in (1, 2))
    assert torch.equal(start.states, again.states)
    assert not torch.equal(start.states, other.states)


def test_layers_of_virtual_tokens():
    assert set(KINDS["shallow"]().injection().tokens) == {0}
    assert set(KINDS["deep"]().injection().tokens) == set(range(LAYERS))
    assert set(KINDS["late"]().injection().tokens) == {1, 2}
    assert KINDS["late"]().frozen_below == 1
    assert KINDS["deep"]().described() == f"4 virtual tokens at layers 0 to {LAYERS - 1}"


def test_a_frame_is_trained_on_the_edge_and_zero_inside():
    prompt = FramePrompt.begin((3, 20, 30), 4)
    added = prompt.injection().inputs.added
    assert added.shape == (3, 20, 30)
    assert not added[:, 4:16, 4:26].any()
    assert added.count_nonzero() == prompt.n_trained == 2 * 3 * 4 * (20 + 30 - 8)
    assert torch.equal(added[:, :4], prompt.sides["top"])
    assert torch.equal(added[:, 4:16, 26:], prompt.sides["right"])
    assert prompt.described() == "a frame of 4 pixels on the image's edge, 20 x 30 in all"
    with pytest.raises(CuetuneError, match="a frame of 10 pixels leaves nothing of 20 x 30"):
        FramePrompt.begin((3, 20, 30), 10)


def test_a_frame_around_a_shrunk_picture_covers_nothing_of_it():
    batch, prompt = pixels(2), KINDS["frame, shrunk"]()
    changed = prompt.injection().inputs.of(batch)
    inside = torch.nn.functional.interpolate(batch, size=(18, 18), mode="bilinear", antialias=True)
    assert torch.equal(changed[:, :, 3:-3, 3:-3], inside)
    assert torch.equal(changed[0, :, :3], prompt.sides["top"])


def test_a_patch_stands_where_it_should():
    prompt = KINDS["patch at random"]()
    added = prompt.injection().inputs.added
    assert torch.equal(added[:, prompt.top : prompt.top + 6, prompt.left : prompt.left + 6], prompt.values)
    assert added.count_nonzero() == prompt.n_trained
    assert (prompt.top, prompt.left) != (0, 0)
    assert KINDS["patch at random"]().described() == prompt.described()
    with pytest.raises(CuetuneError, match="is not within 24 x 24"):
        PatchPrompt.begin(SHAPE, 25)
    with pytest.raises(CuetuneError, match="unknown place 'middle'"):
        PatchPrompt.begin(SHAPE, 5, "middle")


@each_kind
def test_the_same_after_saving(name):
    prompt = KINDS[name]()
    tensors = {key: value.clone() for key, value in prompt.state_dict().items()}
    again = Prompt.rebuild(prompt.kind, prompt.spec(), tensors)
    frozen, batch = image_backbone(), pixels()
    with torch.no_grad():
        frozen.check(again.injection())
        assert torch.equal(frozen.hidden(batch, again.injection()), frozen.hidden(batch, prompt.injection()))
        assert not torch.equal(frozen.hidden(batch), frozen.hidden(batch, prompt.injection()))


@each_kind
def test_every_number_learns_and_nothing_else(name):
    """A few steps bring each image to its own class, by the prompt alone."""
    torch.manual_seed(0)
    frozen, batch, prompt = image_backbone(), pixels(2), KINDS[name]()
    read, wanted = torch.randn(WIDTH), torch.tensor([1.0, 0.0])
    optimizer = torch.optim.Adam([{"params": part, "lr": 0.05 * rate} for part, rate in prompt.groups()])
    losses = []
    for _ in range(25):
        scores = frozen.hidden(batch, prompt.injection()) @ read / WIDTH**0.5
        loss = torch.nn.functional.binary_cross_entropy_with_logits(scores, wanted)
        optimizer.zero_grad()
        loss.backward()
        assert all(parameter.grad.abs().sum() > 0 for parameter in prompt.parameters())
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.05
    assert all(parameter.grad is None for parameter in frozen.model.parameters())
