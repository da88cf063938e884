"""Prompts for images by name: every one begins on a backbone, as it says, and names what it does not know."""

import pytest
import torch

from cuetune.errors import CuetuneError
from cuetune.prompts.registry import build
from cuetune.prompts.start_image import IMAGE_METHODS, ImageStart
from tiny_vision import LAYERS, SIDE, WIDTH, image_backbone, pixels

OPTIONS = {"frame": {"width": 3}, "patch": {"size": 6}}


def start(seed: int = 0, family: str = "vit") -> ImageStart:
    return ImageStart(image_backbone(family), 5, seed, pixels(4))


@pytest.mark.parametrize("family", ["vit", "ijepa", "dinov3"])
@pytest.mark.parametrize("method", IMAGE_METHODS)
@torch.no_grad()
def test_every_method_begins_on_every_backbone(method, family):
    frozen, batch = image_backbone(family), pixels(2, seed=1)
    prompts = [build(method, start(seed, family), OPTIONS.get(method, {})) for seed in (0, 0, 1)]
    frozen.check(prompts[0].injection())
    first, again, other = (frozen.hidden(batch, prompt.injection()) for prompt in prompts)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first, frozen.hidden(batch))
    assert prompts[0].n_trained > 0


def test_sizes_follow_from_the_backbone():
    assert build("vpt", start(), {}).n_trained == LAYERS * 5 * WIDTH
    assert build("vpt", start(), {"layer": "1"}).frozen_below == 1
    assert build("vpt-shallow", start(), {}).n_trained == 5 * WIDTH
    assert build("prefix", start(), {"layer": 2}).n_trained == 2 * 5 * WIDTH
    assert build("frame", start(), {"width": "3", "shrink": "true"}).shape == (3, SIDE, SIDE)
    assert build("frame", start(), {}).shape == (3, SIDE, SIDE)  # as large a part as 30 of 224
    assert build("patch", start(), {}).values.shape == (3, 5, 5)


def test_nothing_is_trained_above_the_layer_that_is_read():
    shallow = ImageStart(image_backbone(), 5, 0, pixels(4), reads=2)
    for method, per_layer in (("vpt", 5 * WIDTH), ("prefix", 2 * 5 * WIDTH)):
        assert build(method, shallow, {}).n_trained == 2 * per_layer
        with pytest.raises(CuetuneError, match="layers 0 to 1 are run"):
            build(method, shallow, {"layer": 2})


@torch.no_grad()
def test_a_prefix_begins_as_patches_of_the_pictures():
    keys, values = start().keys_values()
    model_keys, model_values = image_backbone().keys_values(pixels(4))
    for place in range(5):
        same = (model_keys[:, :, :, 1:] - keys[:, None, :, place, None]).abs().amax(dim=(0, 2, 4)) < 1e-6
        assert same.sum() == 1
        (row,), (patch,) = same.nonzero(as_tuple=True)
        assert torch.allclose(values[:, :, place], model_values[:, row, :, patch + 1])


@torch.no_grad()
@pytest.mark.parametrize("family", ["vit", "ijepa", "dinov3"])
def test_virtual_tokens_may_begin_as_patches_of_the_pictures(family):
    inputs = image_backbone(family).layer_inputs(pixels(4))
    first = image_backbone(family).n_first
    prompt = build("vpt", start(family=family), {"begin": "patches"})
    tokens = prompt.injection().tokens
    assert set(tokens) == set(range(LAYERS))
    for place in range(5):
        found = [(inputs[layer][:, first:] - tokens[layer][place]).abs().amax(-1) < 1e-5 for layer in tokens]
        assert sum(each.sum().item() == 1 for each in found) >= LAYERS - 1, "some patches may be alike in one layer"
        assert torch.stack(found).all(0).sum() == 1, "one patch, in all layers"
    shallow = build("vpt-shallow", start(family=family), {"begin": "patches", "layer": 1})
    assert torch.equal(shallow.injection().tokens[1], tokens[1])
    assert shallow.frozen_below == 1


@pytest.mark.parametrize(
    ("method", "options", "told"),
    [
        ("soft", {}, "unknown prompt 'soft' for images; choose one of vpt, vpt-shallow, prefix, frame, patch"),
        ("frame", {"depth": 1}, "'frame' has no option 'depth'.*width=None, shrink=False"),
        ("vpt", {"layer": 3}, "layer 3: of tiny-vit layers 0 to 2 are run"),
        ("frame", {"width": 30}, "a frame of 30 pixels leaves nothing of 24 x 24"),
        ("vpt", {"begin": "words"}, "begin=words: choose random, or patches of images to tune on"),
        ("patch", {"size": "big"}, "--prompt-option size=big: give a number"),
    ],
)
def test_what_is_not_known_is_named(method, options, told):
    with pytest.raises(CuetuneError, match=told):
        build(method, start(), options)
