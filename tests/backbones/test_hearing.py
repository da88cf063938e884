"""How audio files are prepared, against transformers' own extractors, and where they enter the first layer."""

import json

import numpy as np
import pytest
import torch
from transformers import HubertConfig, HubertModel, Wav2Vec2FeatureExtractor, WhisperFeatureExtractor

from cuetune.backbones.audio import AudioBackbone
from cuetune.backbones.batches import AudioBatch, batches_by_length
from cuetune.backbones.compat import audio as compat_audio
from cuetune.backbones.hearing import WaveHearing, WhisperHearing, hearing_of
from cuetune.errors import CuetuneError
from tiny_audio import COMMON, RATE, SECONDS, audio_backbone, audio_model, hearing, noise


@pytest.mark.parametrize("seconds", [0.0001, 0.013, 0.5, 1.0, 29.96, 30.0, 31.0])
def test_spectra_are_those_of_whisper(seconds):
    """As many as the audio has, and two of the silence behind it, to the last digits of the stock extractor's."""
    (wave,), ours = noise(seconds), WhisperHearing(shortest=1)
    fitted = ours.fitted(wave if len(wave) else torch.ones(1))
    extractor = WhisperFeatureExtractor()
    wanted = extractor(fitted.numpy(), sampling_rate=RATE, return_tensors="np")["input_features"]
    made = ours.features(fitted[None])
    states = ours.states(len(fitted))
    assert states == min(1500, -(-len(fitted) // 320))
    assert made.shape == (1, 80, min(3000, 2 * states + 2))
    np.testing.assert_allclose(made.numpy(), wanted[..., : made.shape[-1]], atol=2e-6)


@torch.no_grad()
def test_a_short_sound_enters_the_first_layer_as_in_the_stock_model():
    (wave,), frozen, entering = noise(0.37), audio_backbone("whisper"), []
    encoder = audio_model("whisper").get_encoder()
    encoder.layers[0].register_forward_pre_hook(lambda module, args: entering.append(args[0]))
    whole = torch.nn.functional.pad(wave, (0, SECONDS * RATE - len(wave)))
    encoder(hearing("whisper").features(whole[None]))
    (ours,) = frozen.heard([wave])
    assert len(ours) == -(-len(wave) // 320)
    torch.testing.assert_close(ours, entering[0][0, : len(ours)], rtol=1e-5, atol=1e-6)
    (silent,) = frozen.heard([wave], at_least=SECONDS)
    torch.testing.assert_close(silent, entering[0][0], rtol=1e-5, atol=1e-6)


def test_samples_are_normalised_as_wav2vec_wants_them():
    (wave,) = noise(0.3)
    wanted = Wav2Vec2FeatureExtractor(do_normalize=True)(wave.numpy(), sampling_rate=RATE)["input_values"][0]
    np.testing.assert_allclose(WaveHearing().features(wave[None])[0].numpy(), wanted, atol=1e-5)
    assert torch.equal(WaveHearing(normalised=False).features(wave[None])[0], wave)


@torch.no_grad()
def test_hubert_is_wav2vec_in_all_but_its_name():
    torch.manual_seed(0)
    convolutions = {"conv_dim": (16, 16), "conv_kernel": (10, 8), "conv_stride": (10, 16)}
    config = HubertConfig(**COMMON, **convolutions, num_conv_pos_embeddings=8, num_conv_pos_embedding_groups=2)
    stock, (wave,) = HubertModel(config).eval(), noise(0.2)
    heard = WaveHearing()
    wanted = stock(heard.features(wave[None])).last_hidden_state.mean(dim=1)
    frozen = AudioBackbone(compat_audio.as_wav2vec2(stock), heard, "tiny-hubert")
    torch.testing.assert_close(frozen.hidden(AudioBatch([wave])), wanted, rtol=1e-4, atol=1e-5)


def test_extractors_of_all_families_are_read_and_others_refused():
    whisper = {"feature_extractor_type": "WhisperFeatureExtractor", "feature_size": 128, "chunk_length": 20}
    assert hearing_of(whisper, "m") == WhisperHearing(RATE, 20 * RATE, 1, 128)
    assert not hearing_of({"feature_extractor_type": "Wav2Vec2FeatureExtractor", "do_normalize": False}, "m").normalised
    ast = hearing_of({"feature_extractor_type": "ASTFeatureExtractor", "max_length": 512, "mean": -4.2, "x": 1}, "m")
    assert (ast.longest, json.loads(ast.config)) == (512 * RATE // 100, {"max_length": 512, "mean": -4.2})
    with pytest.raises(CuetuneError, match="m: unknown audio preparation 'ClapFeatureExtractor'"):
        hearing_of({"feature_extractor_type": "ClapFeatureExtractor"}, "m")
    assert len({each.hash for each in (ast, hearing_of(whisper, "m"), WhisperHearing(), WaveHearing())}) == 4


def test_batches_are_of_similar_length_and_hold_every_sound_once():
    lengths = [5, 4000, 7, 4001, 9000, 6]
    batches = batches_by_length(lengths)
    assert sorted(number for batch in batches for number in batch) == list(range(6))
    assert batches == [[0, 5, 2], [1, 3], [4]]
    assert batches_by_length([]) == []


@pytest.mark.parametrize("name", ["sampling_rate", "hop_length", "n_fft", "chunk_length", "feature_size", "max_length"])
@pytest.mark.parametrize("value", [0, -1, 1.5, None, True, "16000", [16000], 10**9])
def test_settings_that_no_audio_is_prepared_by_are_refused(name, value):
    with pytest.raises(
        CuetuneError, match=f"mine: preprocessor_config.json: {name} is .*, expected a whole number from 1"
    ):
        hearing_of({"feature_extractor_type": "WhisperFeatureExtractor", name: value}, "mine")
