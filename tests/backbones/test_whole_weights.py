"""Model folders that are not whole are refused, whatever kind of model they hold; whole ones of every family load."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    BertForMaskedLM,
    BertForSequenceClassification,
    BertModel,
    ViTForImageClassification,
    ViTModel,
)

from cuetune.backbones.compat import audio as compat_audio
from cuetune.backbones.compat import video as compat_video
from cuetune.backbones.compat import vision as compat_vision
from cuetune.backbones.loading import load_text_backbone
from cuetune.backbones.registry import load_backbone
from cuetune.backbones.whole_weights import load_whole
from cuetune.errors import CuetuneError
from tiny import encoder, encoder_decoder, masked_tokenizer, model, tokenizer, tokenizer_of
from tiny_audio import audio_model, speech_tokenizer, whisper_model
from tiny_conv import conv_model
from tiny_video import tubes_model
from tiny_vision import vision_model

LOADERS = {
    "text": lambda place: load_text_backbone(place, dtype="float32"),
    "image": compat_vision.load_vision,
    "audio": compat_audio.load_audio,
    "video": compat_video.load_tubes,
}
# What is loaded as what, and a weight in the middle of it.
MADE = {
    "text": (lambda: (model("llama"), tokenizer()), "model.layers.1.mlp.up_proj.weight"),
    "tied text": (lambda: (model("gpt2"), tokenizer()), "transformer.h.1.mlp.c_fc.weight"),
    "text encoder": (lambda: (encoder("bert"), masked_tokenizer()), "bert.encoder.layer.1.output.dense.weight"),
    "text encoder-decoder": (
        lambda: (encoder_decoder("t5"), tokenizer_of("t5")),
        "decoder.block.1.layer.0.SelfAttention.q.weight",
    ),
    "image": (lambda: (vision_model("vit"), None), "layernorm.weight"),
    "image with classes": (lambda: (vision_model("classes"), None), "classifier.weight"),
    "image, convolutional": (lambda: (conv_model("resnet"), None), "classifier.1.weight"),
    "image of clip": (lambda: (vision_model("clip"), None), "post_layernorm.weight"),
    "audio": (lambda: (audio_model("wav2vec2"), None), "encoder.layers.1.final_layer_norm.weight"),
    "audio that writes": (lambda: (whisper_model(), speech_tokenizer()), "model.encoder.layers.1.fc1.weight"),
    "video": (lambda: (tubes_model(), None), "encoder.layer.1.output.dense.weight"),
}


def kept(folder, kind):
    return saved(folder, *MADE[kind][0]())


def saved(folder, made, words):
    made.save_pretrained(folder)
    if words is not None:
        words.save_pretrained(folder)
    return folder


def loaded(folder, kind):
    return LOADERS[kind.replace(",", "").removeprefix("tied ").split()[0]](str(folder))


def change(folder, edit):
    path = folder / "model.safetensors"
    tensors = load_file(path)
    edit(tensors)
    save_file(tensors, path, {"format": "pt"})


def name_in(folder, wanted):
    """The weight as the file calls it: some families are saved under other names than they have in the model."""
    names = load_file(folder / "model.safetensors")
    return next(name for name in names if name.endswith(wanted) or wanted.endswith(name))


def refused(folder, kind, *said):
    with pytest.raises(CuetuneError) as raised:
        loaded(folder, kind)
    line = str(raised.value)
    for each in said:
        assert each in line, line
    return line


@pytest.mark.parametrize("kind", list(MADE))
def test_a_missing_weight_is_refused_in_every_kind_of_model(tmp_path, kind):
    folder, name = kept(tmp_path / "m", kind), MADE[kind][1]
    loaded(folder, kind)  # whole
    change(folder, lambda tensors: tensors.pop(name_in(folder, name)))
    refused(folder, kind, name.split(".", 1)[-1], "lack", "copy the model again")


@pytest.mark.parametrize("kind", ["text", "text encoder", "text encoder-decoder", "image", "audio", "video"])
def test_a_weight_of_another_shape_is_refused(tmp_path, kind):
    folder, name = kept(tmp_path / "m", kind), MADE[kind][1]
    inside = name_in(folder, name)
    change(folder, lambda tensors: tensors.update({inside: torch.zeros(3, 3)}))
    refused(folder, kind, "shape (3, 3)", "configuration asks for")


@pytest.mark.parametrize("kind", ["text", "text encoder", "audio", "video"])
def test_layers_beyond_the_configuration_are_refused(tmp_path, kind):
    folder, name = kept(tmp_path / "m", kind), MADE[kind][1]
    inside = name_in(folder, name)
    change(folder, lambda tensors: tensors.update({inside.replace(".1.", ".7."): tensors[inside].clone()}))
    refused(folder, kind, ".7.", "beyond the configuration")


def test_a_bias_beside_a_weight_that_has_none_is_refused(tmp_path):
    folder = kept(tmp_path / "m", "text")
    change(folder, lambda tensors: tensors.update({"model.layers.0.mlp.up_proj.bias": torch.ones(3)}))
    refused(folder, "text", "model.layers.0.mlp.up_proj.bias")


def test_a_language_head_is_missed_where_words_are_scored(tmp_path):
    folder = kept(tmp_path / "m", "text")
    if model("llama").config.tie_word_embeddings:
        pytest.skip("tied")
    change(folder, lambda tensors: tensors.pop("lm_head.weight"))
    refused(folder, "text", "lm_head.weight")


def test_half_a_masked_head_is_refused_and_none_is_an_encoder_without_one(tmp_path):
    folder = kept(tmp_path / "m", "text encoder")
    change(folder, lambda tensors: tensors.pop("cls.predictions.transform.dense.weight"))
    refused(folder, "text encoder", "cls.predictions.transform.dense.weight")

    def headless(tensors):
        for name in [name for name in tensors if name.startswith("cls.")]:
            del tensors[name]

    change(folder, headless)
    assert not loaded(folder, "text encoder").has_words


def test_heads_and_poolers_that_nobody_needs_do_no_harm(tmp_path):
    """A classifier's encoder, an encoder with or without its pooler, an image model saved with classes or without."""
    config = encoder("bert").config
    for number, kind in enumerate((BertForSequenceClassification, BertModel, BertForMaskedLM)):
        loaded(saved(tmp_path / str(number), kind(config), masked_tokenizer()), "text")
    pooled = BertModel(config, add_pooling_layer=False)
    loaded(saved(tmp_path / "unpooled", pooled, masked_tokenizer()), "text")
    classes = vision_model("classes")
    for number, made in enumerate((ViTModel(classes.config), ViTModel(classes.config, add_pooling_layer=False))):
        made.save_pretrained(tmp_path / f"image-{number}")
        loaded(tmp_path / f"image-{number}", "image")
    classes.save_pretrained(tmp_path / "classes")
    config = json.loads((tmp_path / "classes" / "config.json").read_text())
    (tmp_path / "classes" / "config.json").write_text(json.dumps({**config, "architectures": ["ViTModel"]}))
    assert not isinstance(loaded(tmp_path / "classes", "image"), ViTForImageClassification)


@pytest.mark.parametrize("family", ["gpt2", "gpt_neox", "gemma3", "mistral", "opt"])
def test_whole_causal_models_of_every_family_load(tmp_path, family):
    made = model(family)
    made.save_pretrained(tmp_path)
    assert type(load_whole(AutoModelForCausalLM, str(tmp_path))) is type(made)


@pytest.mark.parametrize("family", ["flan-t5", "bart"])
def test_whole_encoder_decoders_of_every_family_load(tmp_path, family):
    made = encoder_decoder(family)
    made.save_pretrained(tmp_path)
    assert type(load_whole(AutoModelForSeq2SeqLM, str(tmp_path))) is type(made)


@pytest.mark.parametrize("family", ["vit", "classes", "deit", "dinov2", "registers", "dinov3", "clip", "ijepa"])
def test_whole_image_models_of_every_family_load(tmp_path, family):
    vision_model(family).save_pretrained(tmp_path)
    compat_vision.load_vision(str(tmp_path))


@pytest.mark.parametrize("family", ["regnet", "convnext", "convnextv2", "efficientnet", "mobilenet_v1", "mobilenet_v2"])
def test_whole_convolutional_models_of_every_family_load(tmp_path, family):
    conv_model(family).save_pretrained(tmp_path)
    compat_vision.load_vision(str(tmp_path))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"num_hidden_layers": 10**12}, "num_hidden_layers is 1000000000000"),
        ({"vocab_size": 10**12}, "vocab_size"),
        ({"num_hidden_layers": 10**400}, "not JSON (an integer of 401 digits)"),
        ({"deep": json.loads("[" * 200 + "]" * 200)}, "nested more than"),
    ],
)
def test_sizes_that_no_model_has_are_refused_before_anything_is_built(tmp_path, change, said):
    folder = kept(tmp_path / "m", "text")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **change}))
    with pytest.raises(CuetuneError) as raised:
        load_backbone(str(folder))
    assert said in str(raised.value)


@pytest.mark.parametrize("length", [0, 5, 100, 5000])
def test_weights_that_were_cut_are_one_line(tmp_path, length):
    folder = kept(tmp_path / "m", "text")
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[:length])
    with pytest.raises(CuetuneError, match=str(folder)):
        load_backbone(str(folder))


@pytest.mark.parametrize("name", ["tokenizer.json", "config.json", "tokenizer_config.json"])
@pytest.mark.parametrize("content", ["", "{", "[]", "[" * 5000, "\udcff"])
def test_damaged_files_of_a_model_are_one_line(tmp_path, name, content):
    folder = kept(tmp_path / "m", "text")
    (folder / name).write_text(content, errors="surrogateescape")
    with pytest.raises(CuetuneError):
        load_backbone(str(folder))
