"""Whisper out of CTranslate2's file: a converted tiny one equals its original; the real ones are what is promised."""

import json
import struct

import numpy as np
import pytest
import torch
from transformers import WhisperForConditionalGeneration

from cuetune.backbones.audio_loading import load_audio_backbone, load_hearing
from cuetune.backbones.batches import AudioBatch
from cuetune.backbones.hearing import WhisperHearing
from cuetune.backbones.injection import Injection
from cuetune.errors import CuetuneError
from cuetune_catalog.models.bundled import MODELS, pull
from cuetune_catalog.models.converters import ctranslate2_whisper
from tiny_audio import HEADS, LAYERS, SECONDS, WIDTH, noise, speech_tokenizer, whisper_model

SIZES = {
    "encoder_attention_heads": HEADS,
    "decoder_attention_heads": HEADS,
    "max_source_positions": 50 * SECONDS,
    "max_target_positions": 40,
}
SIZES |= {"encoder_ffn_dim": 64, "decoder_ffn_dim": 64}


def half(model):
    """The model with weights that sixteen bits hold."""
    for parameter in model.parameters():
        parameter.data = parameter.data.half().float()
    return model


def named(state, layers, prefix):
    """The file's tensors of one side, from transformers' names: (name, tensor) pairs."""
    side = prefix.split(".")[1]

    def norm(new, old):
        return [(f"{new}/gamma", state[f"{old}.weight"]), (f"{new}/beta", state[f"{old}.bias"])]

    def linear(new, *old):
        weights = torch.cat([state[f"{name}.weight"] for name in old])
        biases = [state.get(f"{name}.bias", torch.zeros(len(state[f"{name}.weight"]))) for name in old]
        return [(f"{new}/weight", weights), (f"{new}/bias", torch.cat(biases))]

    yield f"{side}/position_encodings/encodings", state[f"{prefix}embed_positions.weight"]
    yield from norm(f"{side}/layer_norm", f"{prefix}layer_norm")
    for number in range(layers):
        new, old = f"{side}/layer_{number}", f"{prefix}layers.{number}"
        own = [f"{old}.self_attn.{name}_proj" for name in ("q", "k", "v")]
        yield from norm(f"{new}/self_attention/layer_norm", f"{old}.self_attn_layer_norm")
        yield from linear(f"{new}/self_attention/linear_0", *own)
        yield from linear(f"{new}/self_attention/linear_1", f"{old}.self_attn.out_proj")
        if side == "decoder":
            yield from norm(f"{new}/attention/layer_norm", f"{old}.encoder_attn_layer_norm")
            yield from linear(f"{new}/attention/linear_0", f"{old}.encoder_attn.q_proj")
            yield from linear(f"{new}/attention/linear_1", *[f"{old}.encoder_attn.{name}_proj" for name in "kv"])
            yield from linear(f"{new}/attention/linear_2", f"{old}.encoder_attn.out_proj")
        yield from norm(f"{new}/ffn/layer_norm", f"{old}.final_layer_norm")
        yield from linear(f"{new}/ffn/linear_0", f"{old}.fc1")
        yield from linear(f"{new}/ffn/linear_1", f"{old}.fc2")
    if side == "encoder":
        yield from linear("encoder/conv1", f"{prefix}conv1")
        yield from linear("encoder/conv2", f"{prefix}conv2")
    else:
        yield "decoder/embeddings/weight", state[f"{prefix}embed_tokens.weight"]


def text(value):
    return struct.pack("<H", len(value) + 1) + value.encode() + b"\0"


def file_of(model, without=()):
    """The model as CTranslate2 writes it, in sixteen bits, the head as another name of the embeddings."""
    state = model.state_dict()
    tensors = [*named(state, LAYERS, "model.encoder."), *named(state, 2, "model.decoder.")]
    tensors = [(name, value) for name, value in tensors if name not in without]
    out = struct.pack("<I", 6) + text("WhisperSpec") + struct.pack("<II", 3, len(tensors))
    for name, value in tensors:
        raw = value.numpy().astype(np.float16)
        sizes = struct.pack(f"<B{raw.ndim}I", raw.ndim, *raw.shape)
        out += text(name) + sizes + struct.pack("<BI", 4, raw.nbytes) + raw.tobytes()
    return out + struct.pack("<I", 1) + text("decoder/projection/weight") + text("decoder/embeddings/weight")


def package(folder, content, parts=1):
    """A folder as packages hold it, the file perhaps in parts."""
    folder.mkdir()
    size = -(-len(content) // parts)
    for number in range(parts):
        name = "model.bin" if parts == 1 else f"model.bin.part{number + 1}"
        (folder / name).write_bytes(content[number * size : (number + 1) * size])
    (folder / "config.json").write_text(json.dumps({"suppress_ids": [3, 4], "suppress_ids_begin": [5]}))
    speech_tokenizer().backend_tokenizer.save(str(folder / "tokenizer.json"))
    return folder


@pytest.mark.parametrize("parts", [1, 3])
@torch.no_grad()
def test_a_converted_model_equals_its_original(tmp_path, parts):
    original, sizes = half(whisper_model()), SIZES
    ctranslate2_whisper.convert(package(tmp_path / "source", file_of(original), parts), tmp_path, **sizes)
    made = WhisperForConditionalGeneration.from_pretrained(tmp_path).eval()
    features, ids = torch.randn(1, 20, 100 * SECONDS), torch.tensor([[4, 9, 30]])
    wanted = original(input_features=features, decoder_input_ids=ids).logits
    assert torch.equal(made(input_features=features, decoder_input_ids=ids).logits, wanted)
    tokens = speech_tokenizer()
    start, end = tokens.convert_tokens_to_ids("<|startoftranscript|>"), tokens.convert_tokens_to_ids("<|endoftext|>")
    assert (made.config.decoder_start_token_id, made.config.eos_token_id) == (start, end)
    assert made.generation_config.suppress_tokens == [3, 4]
    assert made.generation_config.begin_suppress_tokens == [5]
    assert load_hearing(str(tmp_path)).bands == 20


def test_a_file_that_does_not_fit_is_refused(tmp_path):
    content, sizes = file_of(whisper_model()), SIZES
    for number, cut in enumerate((0, 3, 40, len(content) // 2, len(content) - 5)):
        with pytest.raises(ValueError, match="ends too early"):
            ctranslate2_whisper.convert(package(tmp_path / f"cut{number}", content[:cut]), tmp_path, **sizes)
    lacking = file_of(whisper_model(), without=["decoder/layer_1/ffn/layer_norm/beta"])
    with pytest.raises(KeyError, match="decoder/layer_1/ffn/layer_norm/beta"):
        ctranslate2_whisper.convert(package(tmp_path / "lacking", lacking), tmp_path, **sizes)


def test_what_is_no_model_of_sound_is_said_so(tmp_path):
    with pytest.raises(CuetuneError, match="nowhere: no audio model could be loaded"):
        load_audio_backbone("nowhere")
    whisper_model().save_pretrained(tmp_path)
    with pytest.raises(CuetuneError, match="no preprocessor_config.json"):
        load_audio_backbone(str(tmp_path))


def test_a_name_says_how_many_seconds_are_heard_of_what_is_written(tmp_path):
    ctranslate2_whisper.convert(package(tmp_path / "source", file_of(whisper_model())), tmp_path / "m", **SIZES)
    short = load_audio_backbone(f"{tmp_path / 'm'}@1", dtype="float32", device="cpu")
    assert (short.identity.name, short.hearing.written) == ("m@1", 1.0)
    assert short.identity.tokenizer_hash != load_hearing(str(tmp_path / "m")).hash
    for seconds in (0, 31):
        with pytest.raises(CuetuneError, match=f"@{seconds} names seconds that a Whisper hears, 1 to 30"):
            load_hearing(f"{tmp_path / 'm'}@{seconds}")


# The real packages, where they can be had.


@pytest.mark.parametrize("name", ["whisper-tiny-en", "whisper-base"])
def test_the_real_ones_are_what_the_catalogue_says(name):
    try:
        folder = pull(name)
    except CuetuneError as error:
        pytest.skip(f"{name} cannot be fetched here: {error}")
    real, facts = load_audio_backbone(str(folder), dtype="float32", device="cpu"), MODELS[name]
    assert sum(weight.numel() for weight in real.model.parameters()) == facts.parameters
    assert real.hearing == WhisperHearing(shortest=1)
    assert real.multilingual == (name == "whisper-base")
    assert (real.layers, real.width) == ((4, 384) if name == "whisper-tiny-en" else (6, 512))
    start = real.start("en")
    assert real.tokenizer.convert_ids_to_tokens(start)[0] == "<|startoftranscript|>"
    with torch.no_grad():
        states = real.layer_inputs(AudioBatch(noise(0.2)))
    assert all(each.isfinite().all() for each in states)
    assert len(real.write(AudioBatch(noise(0.2)), Injection(), start, 2)) == 1
    assert real.embedding_table().shape[1] == real.width != WIDTH
