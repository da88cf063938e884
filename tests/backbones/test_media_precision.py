"""Which image, audio and video models prompts are made for: the stored weights, whatever precision they run in."""

import json

import pytest

from cuetune.backbones.audio_loading import load_audio_backbone
from cuetune.backbones.image_loading import load_image_backbone
from cuetune.backbones.video_loading import load_video_backbone
from tiny_audio import audio_model
from tiny_vision import vision_model

PIXELS = {"do_resize": True, "do_rescale": True, "do_normalize": True, "rescale_factor": 1 / 255, "resample": 2}
PIXELS |= {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
WAVES = {"feature_extractor_type": "Wav2Vec2FeatureExtractor", "do_normalize": True, "feature_size": 1}
WAVES |= {"sampling_rate": 16000, "padding_value": 0.0, "return_attention_mask": True}


def folder(tmp_path, kind):
    model = {"image": vision_model, "audio": audio_model}[kind]("vit" if kind == "image" else "wav2vec2")
    model.save_pretrained(tmp_path / kind)
    size = {"image_processor_type": "ViTImageProcessor", "size": {"height": 24, "width": 24}}
    prepared = WAVES if kind == "audio" else size | PIXELS
    (tmp_path / kind / "preprocessor_config.json").write_text(json.dumps(prepared))
    return str(tmp_path / kind)


@pytest.mark.parametrize("kind", ["image", "audio", "frames"])
def test_a_prompt_of_one_precision_fits_every_other(tmp_path, kind):
    load = {"image": load_image_backbone, "audio": load_audio_backbone, "frames": load_video_backbone}[kind]
    name = folder(tmp_path, "image" if kind == "frames" else kind) + ("@2x24" if kind == "frames" else "")
    known = {dtype: load(name, dtype=dtype).identity for dtype in ("float32", "bfloat16", "float16")}
    for made in known.values():
        for running in known.values():
            made.check(running, "prompt")
    assert len({each.weights_hash for each in known.values()}) == 1
