"""Tiny random models of sound and noise to hear: the mathematics of sounds is tested on these, without a download."""

from functools import cache
from typing import Any

import torch
from torch import Tensor
from transformers import ASTConfig, ASTModel, Wav2Vec2Config, Wav2Vec2Model, WhisperConfig, WhisperModel

from cuetune.backbones.audio import AudioBackbone
from cuetune.backbones.hearing import Hearing, SpectrogramHearing, WaveHearing, WhisperHearing

FAMILIES = ("whisper", "wav2vec2", "ast")
WIDTH, LAYERS, HEADS, RATE = 32, 3, 4, 16000
SECONDS = 2  # that the tiny Whisper hears
COMMON: dict[str, Any] = {
    "hidden_size": WIDTH,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "intermediate_size": 64,
}


def audio_model(family: str, seed: int = 0) -> Any:
    """A random model in float32."""
    torch.manual_seed(seed)
    if family == "ast":
        return ASTModel(ASTConfig(**COMMON, max_length=64, num_mel_bins=32)).eval()
    if family == "wav2vec2":
        convolutions = {"conv_dim": (16, 16), "conv_kernel": (10, 8), "conv_stride": (10, 16)}
        config = Wav2Vec2Config(**COMMON, **convolutions, num_conv_pos_embeddings=8, num_conv_pos_embedding_groups=2)
        return Wav2Vec2Model(config).eval()
    config = WhisperConfig(
        vocab_size=100,
        num_mel_bins=20,
        d_model=WIDTH,
        encoder_layers=LAYERS,
        decoder_layers=2,
        encoder_attention_heads=HEADS,
        decoder_attention_heads=HEADS,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        max_source_positions=50 * SECONDS,
        max_target_positions=20,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
    )
    return WhisperModel(config).eval()


def hearing(family: str) -> Hearing:
    if family == "ast":
        return SpectrogramHearing(RATE, 64 * RATE // 100, 400, '{"max_length": 64, "num_mel_bins": 32}')
    return WaveHearing() if family == "wav2vec2" else WhisperHearing(RATE, SECONDS * RATE, 1, 20)


@cache
def audio_backbone(family: str) -> AudioBackbone:
    return AudioBackbone(audio_model(family), hearing(family), f"tiny-{family}")


def noise(*seconds: float, seed: int = 0) -> list[Tensor]:
    """One wave of noise for each length."""
    generator = torch.Generator().manual_seed(seed)
    return [0.1 * torch.randn(int(each * RATE), generator=generator) for each in seconds]
