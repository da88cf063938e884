"""Pixels as image processors of transformers make them, for every form in which sizes are written."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from transformers.models.auto.image_processing_auto import (
    IMAGE_PROCESSOR_MAPPING_NAMES,
    get_image_processor_class_from_name,
)

from cuetune.backbones.audio_loading import load_hearing
from cuetune.backbones.clips import ClipPreprocessing
from cuetune.backbones.image_loading import load_preprocessing
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
    "clip, old": (
        {"size": 224, "crop_size": 224, "do_center_crop": True, "feature_extractor_type": "CLIPFeatureExtractor"},
        (224, 224),
        224,
    ),
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


def processors() -> list[str]:
    """Every image processor that transformers knows, by the version that needs no torchvision; but for DINOv3's."""
    found = {versions.get("pil") or versions["torchvision"] for versions in IMAGE_PROCESSOR_MAPPING_NAMES.values()}
    return sorted(found - {"DINOv3ViTImageProcessor"})


def images():
    draw = np.random.default_rng(7)
    return [Image.fromarray(draw.integers(0, 256, (*shape, 3), dtype=np.uint8)) for shape in ((70, 35), (333, 480))]


def asked(name, settings):
    """What transformers' own processor makes of the images, (3, H, W) each; None where it makes something else."""
    kind = get_image_processor_class_from_name(name)
    made = [np.asarray(kind(**settings)(image, return_tensors="np")["pixel_values"]) for image in images()]
    return [each.reshape(each.shape[-3:]) for each in made]


FIXED = (
    "Beit Bit Blip CLIP ChineseCLIP ConvNext DPT DeepseekVL DeiT EfficientNet Flava Levit Llava MobileNetV1 "
    "MobileNetV2 MobileViT OwlViT Perceiver PoolFormer Pvt SegGpt Segformer Siglip ViT VideoMAE Vivit"
)
SETTINGS = {
    "own defaults": {},
    "nearest": {"resample": 0},
    "lanczos": {"resample": 1},
    "no mean": {"do_normalize": False},
    "own mean": {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.9, 0.8, 0.7]},
    "bytes": {"do_rescale": False, "do_normalize": False},
    "no size": {"do_resize": True},
}


def refused(config) -> str:
    """The error of a configuration; empty where it is taken."""
    try:
        Preprocessing.from_config(config, "tiny")
    except CuetuneError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("name", processors())
def test_pixels_are_those_of_every_image_processor_or_it_is_refused(name):
    """Whatever a file leaves out is the default of its own processor, and no other's."""
    told = {"image_processor_type": name.removesuffix("Pil")}
    if name.removesuffix("Pil").removesuffix("ImageProcessor") not in FIXED.split() and (reason := refused(told)):
        assert reason.startswith("tiny: its images are prepared by ")
        assert "\n" not in reason
        return
    ours = Preprocessing.from_config(told, "tiny")
    for image, theirs in zip(images(), asked(name, {}), strict=True):
        np.testing.assert_allclose(ours.normalised(ours.bytes_of(image)[None])[0].numpy(), theirs, atol=1e-4, rtol=1e-4)


def test_dinov3_which_needs_torchvision_is_prepared_to_the_nearest_byte():
    """Its processor resizes numbers and not bytes, by the same filter: half a byte lies between the two at most."""
    made = Preprocessing.from_config({"image_processor_type": "DINOv3ViTImageProcessorFast"}, "tiny")
    for image in images():
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None] / 255
        resized = torch.nn.functional.interpolate(pixels, (224, 224), mode="bilinear", antialias=True)[0]
        mean, std = (torch.tensor(DINO[each])[:, None, None] for each in ("image_mean", "image_std"))
        ours = made.normalised(made.bytes_of(image)[None])[0]
        assert ((ours - (resized - mean) / std) * std * 255).abs().max() < 1.5


@pytest.mark.parametrize("what", SETTINGS)
@pytest.mark.parametrize(
    "name", ["CLIP", "Bit", "ConvNext", "Siglip", "DeiT", "Beit", "MobileViT", "Levit", "VideoMAE"]
)
def test_settings_are_read_as_the_processor_reads_them(name, what):
    settings = SETTINGS[what]
    ours = Preprocessing.from_config({"feature_extractor_type": f"{name}FeatureExtractor", **settings}, "tiny")
    for image, theirs in zip(images(), asked(f"{name}ImageProcessorPil", settings), strict=True):
        np.testing.assert_allclose(ours.normalised(ours.bytes_of(image)[None])[0].numpy(), theirs, atol=1e-3, rtol=1e-4)


def test_the_models_type_names_the_processor_where_the_file_does_not():
    clip, plain = (Preprocessing.from_config({}, "tiny", kind) for kind in ("clip", ""))
    assert (clip.resample, clip.resize) == (3, 224)
    assert clip.mean[0] == pytest.approx(0.48145466)
    assert (plain.resample, plain.mean) == (2, (0.5, 0.5, 0.5))


def test_what_was_right_keeps_its_hash():
    """A prompt that was saved under a preprocessing still belongs to it."""
    made = Preprocessing.from_config({"size": {"height": 24, "width": 24}}, "vit")
    assert made.hash == "0e1c5d2a134c667894fda14792729893a6464f8236f0ff96de6745e57166fafb"
    dino = Preprocessing.from_config(DINO, "dino")
    assert dino.hash == "187c2d4cc9b492ed9b90e1dcdc48a2871c7f95ac4eb4fb9617236946b60b4050"


def test_processors_that_other_steps_are_known_of_are_asked_themselves():
    """MobileViT's turns channels around; no step here does, so it is called, also by threads and for videos."""
    made = Preprocessing.from_config({"image_processor_type": "MobileViTImageProcessor"}, "tiny")
    assert made.asked
    frames = ClipPreprocessing.over(made, 2).bytes_of_frames(images())
    assert torch.equal(frames[1], made.bytes_of(images()[1]))
    with pytest.raises(CuetuneError, match="@98: MobileViTImageProcessor prepares images of 256 x 256 pixels alone"):
        made.sized(98)


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"image_processor_type": "DetrImageProcessor"}, "images of different sizes"),
        ({"image_processor_type": "TimmWrapperImageProcessor"}, "TimmWrapperImageProcessor, which needs timm"),
        ({"image_processor_type": "ViTImageProcessor", "size": {"wide": 3}}, "does not fit ViTImageProcessor"),
        (
            {"image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": 32}, "do_center_crop": False},
            "images of different sizes",
        ),
        ({"image_processor_type": "ViTImageProcessor", "image_mean": [0.5, 0.5]}, "ViTImageProcessor"),
        ({"image_processor_type": "ViTImageProcessor", "size": "large"}, "does not fit ViTImageProcessor"),
    ],
)
def test_settings_that_fit_no_model_are_refused_in_one_line(config, told):
    with pytest.raises(CuetuneError, match=told) as caught:
        Preprocessing.from_config(config, "tiny")
    assert str(caught.value).startswith("tiny: ")
    assert "\n" not in str(caught.value)


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
        made = Preprocessing.from_config(config, "b0", "efficientnet")
        torch.testing.assert_close(made.normalised(noise[None]), theirs)


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


@pytest.mark.parametrize("size", [10**6, {"height": 10**5, "width": 3.5}, {"shortest_edge": 10**7}, [9000, 9000]])
@pytest.mark.parametrize("setting", ["size", "crop_size"])
def test_sizes_that_no_memory_holds_are_refused_before_anything_is_made(setting, size):
    with pytest.raises(CuetuneError, match=f"{setting} is .* pixels, expected at most 8,192") as caught:
        Preprocessing.from_config({**DINO, setting: size}, "dino")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("std", [0, [0, 0.5, 0.5]])
def test_settings_that_make_no_finite_numbers_are_refused(std):
    with pytest.raises(CuetuneError, match="makes numbers that are not finite; take another model"):
        Preprocessing.from_config({**DINO, "image_std": std}, "dino")


HOSTILE = {
    "1e400": "beyond floating-point numbers",
    "NaN": "no number",
    "9" * 400: "an integer of 400 digits",
    "9" * 20: "expected at most",
    "1e300": "expected at most",
    "[" * 900 + "]" * 900: "nested more than 64 deep",
    '"\\ud800"': "not JSON",
}


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize("key", ["image_mean", "sampling_rate", "auto_map"])
@pytest.mark.parametrize("read", [load_preprocessing, load_hearing])
def test_the_file_of_a_stranger_is_read_within_limits(tmp_path, read, key, value):
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({**DINO, key: "@"}).replace('"@"', value))
    with pytest.raises(CuetuneError, match=HOSTILE[value]) as caught:
        read(str(tmp_path))
    assert str(caught.value).startswith(f"{tmp_path / 'preprocessor_config.json'}: ")
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("content", ["", "[]", "null", "3", "{", '"text"'])
def test_a_file_without_settings_is_one_line(tmp_path, content):
    (tmp_path / "preprocessor_config.json").write_text(content)
    for read in (load_preprocessing, load_hearing):
        with pytest.raises(CuetuneError, match=r"preprocessor_config\.json: (not JSON|holds no settings)"):
            read(str(tmp_path))
