"""Pixels as image processors of transformers make them, for every form in which sizes are written."""

import numpy as np
import pytest
import torch
from PIL import Image

from cuetune.backbones.preprocessing import Preprocessing
from cuetune.errors import CuetuneError
from tiny_vision import image_backbone, picture

DINO = {
    "size": {"shortest_edge": 256},
    "crop_size": {"height": 224, "width": 224},
    "do_center_crop": True,
    "resample": 3,
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
}
CONFIGS = {
    "dinov2": (DINO, (224, 224), 256),
    "vit": ({"size": 224, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}, (224, 224), None),
    "vit, mapping": ({"size": {"height": 384, "width": 256}}, (384, 256), None),
    "clip": ({"size": {"shortest_edge": 224}, "crop_size": 224, "do_center_crop": True}, (224, 224), 224),
    "clip, old": ({"size": 224, "crop_size": 224, "do_center_crop": True}, (224, 224), 224),
    "deit": (
        {"size": 256, "crop_size": 224, "do_center_crop": True, "feature_extractor_type": "DeiTFeatureExtractor"},
        (224, 224),
        (256, 256),
    ),
    "beit": ({"size": 224, "crop_size": 224, "do_center_crop": False}, (224, 224), None),
    "convnext": ({"size": {"shortest_edge": 224}, "image_processor_type": "ConvNextImageProcessor"}, (224, 224), 256),
    "resnet": (
        {"size": 224, "crop_pct": 0.95, "feature_extractor_type": "ConvNextFeatureExtractor"},
        (224, 224),
        235,
    ),
    "convnext, large": (
        {"size": {"shortest_edge": 384}, "image_processor_type": "ConvNextImageProcessor"},
        (384, 384),
        None,
    ),
    "no resize": ({"size": 100, "do_resize": False, "crop_size": [64, 48], "do_center_crop": True}, (64, 48), None),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_sizes_of_every_form(name):
    config, size, resize = CONFIGS[name]
    made = Preprocessing.from_config(config, name)
    assert (made.size, made.resize) == (size, resize)
    assert made.bytes_of(picture(size=(70, 90))).shape == (3, *size)


def test_a_config_without_sizes_is_refused():
    with pytest.raises(CuetuneError, match="tiny: preprocessor_config.json names no size"):
        Preprocessing.from_config({"do_normalize": False}, "tiny")


@pytest.mark.parametrize("shape", [(300, 500), (500, 300), (256, 256), (31, 400)])
def test_pixels_equal_the_steps_done_by_hand(shape):
    """Shorter side to 256 by Pillow's bicubic filter, the middle cut out, mean and deviation of each channel."""
    noise = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    made = Preprocessing.from_config(DINO, "dino")
    ours = made.normalised(made.bytes_of(Image.fromarray(noise))[None])[0]
    height, width = (int(256 * side / min(shape)) for side in shape)
    resized = np.asarray(Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC), dtype=np.float32)
    top, left = (height - 224) // 2, (width - 224) // 2
    cut = resized[top : top + 224, left : left + 224] / 255
    wanted = (cut - np.array(DINO["image_mean"])) / np.array(DINO["image_std"])
    assert ours.dtype == torch.float32
    np.testing.assert_allclose(ours.numpy(), wanted.transpose(2, 0, 1), rtol=1e-4, atol=1e-5)


def test_without_normalisation_bytes_stay_what_they_are():
    made = Preprocessing.from_config({"size": 8, "do_rescale": False, "do_normalize": False}, "plain")
    raw = made.bytes_of(picture())
    assert torch.equal(made.normalised(raw[None])[0], raw.float())


def test_efficientnets_processor_divides_twice_and_may_begin_at_minus_one():
    from transformers import EfficientNetImageProcessor

    noise = torch.randint(0, 256, (3, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    common = {"size": {"height": 8, "width": 8}, "image_mean": [0.4, 0.5, 0.6], "image_std": [0.5, 0.4, 0.3]}
    for offset, scale in ((False, 1 / 255), (True, 1 / 127.5)):
        config = {**common, "rescale_offset": offset, "rescale_factor": scale, "include_top": True}
        theirs = EfficientNetImageProcessor(**config)(noise, return_tensors="pt")["pixel_values"]
        torch.testing.assert_close(Preprocessing.from_config(config, "b0").normalised(noise[None]), theirs)


def test_the_hash_tells_preprocessings_apart():
    first, other = (Preprocessing.from_config({**DINO, **more}, "dino") for more in ({}, {"resample": 2}))
    assert first.hash == Preprocessing.from_config(dict(reversed(DINO.items())), "again").hash
    assert first.hash != other.hash
    assert image_backbone().identity.tokenizer_hash == image_backbone().preprocessing.hash


def test_pictures_become_a_batch_on_the_models_device():
    frozen = image_backbone()
    batch = frozen.pixels([picture(), picture("blue", (10, 90))])
    assert batch.shape == (2, 3, 24, 24)
    assert batch.dtype == frozen.dtype
    assert batch.min() >= -1
    assert batch.max() <= 1
