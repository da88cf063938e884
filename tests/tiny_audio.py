"""Tiny random audio models and noise to hear: the mathematics of audio files is tested on these, without a download."""

from functools import cache
from typing import Any

import torch
from torch import Tensor
from transformers import (
    ASTConfig,
    ASTModel,
    Wav2Vec2Config,
    Wav2Vec2Model,
    WhisperConfig,
    WhisperForConditionalGeneration,
    WhisperModel,
)

from cuetune.backbones.audio import AudioBackbone
from cuetune.backbones.hearing import Hearing, SpectrogramHearing, WaveHearing, WhisperHearing
from cuetune.backbones.whisper import END, QUIET, SAYS, START, WhisperBackbone
from tiny import tokenizer

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


def whisper_model(seed: int = 0) -> Any:
    """A random Whisper that also writes; no weight is at its neutral start."""
    torch.manual_seed(seed)
    tokens = speech_tokenizer()
    start, end = (tokens.convert_tokens_to_ids(token) for token in (START, END))
    sizes = {"encoder_layers": LAYERS, "decoder_layers": 2, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64}
    heads = {"encoder_attention_heads": HEADS, "decoder_attention_heads": HEADS}
    context = {"max_source_positions": 50 * SECONDS, "max_target_positions": 40, "num_mel_bins": 20}
    special = {"pad_token_id": end, "bos_token_id": end, "eos_token_id": end, "decoder_start_token_id": start}
    config = WhisperConfig(vocab_size=len(tokens), d_model=WIDTH, init_std=0.3, **sizes, **heads, **context, **special)
    model = WhisperForConditionalGeneration(config).eval()
    for parameter in model.parameters():
        if parameter.dim() == 1:
            parameter.data += 0.1 * torch.randn(parameter.shape)
    return model


def speech_tokenizer() -> Any:
    """Bytes as tokens, and Whisper's tokens that begin and end a transcript."""
    plain = tokenizer()
    plain.add_special_tokens({"additional_special_tokens": [START, QUIET, SAYS, END, "<|startofprev|>", "<|fr|>"]})
    return plain


@cache
def whisper_backbone() -> WhisperBackbone:
    """The wrapped tiny Whisper; shared by tests, which must not change it."""
    return WhisperBackbone(whisper_model(), hearing("whisper"), speech_tokenizer(), "tiny-whisper")
