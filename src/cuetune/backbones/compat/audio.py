"""All of audio models that depends on the version of transformers, beside `compat`. Tested with transformers 5.x."""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModel,
    PreTrainedModel,
    Wav2Vec2Config,
    Wav2Vec2Model,
    WhisperForConditionalGeneration,
)
from transformers.feature_extraction_utils import FeatureExtractionMixin

from cuetune.backbones.compat import text as compat
from cuetune.backbones.whole_weights import check_preprocessing, load_whole

# Audio families of transformers, with the states that stand before an audio file's own: AST has two for all of it.
FAMILIES = {"whisper": 0, "audio-spectrogram-transformer": 2, "wav2vec2": 0, "hubert": 0}
FAMILIES |= {"unispeech": 0, "unispeech-sat": 0, "data2vec-audio": 0}  # built as wav2vec 2.0 is


def load_audio(source: str, **options: Any) -> PreTrainedModel:
    """The model in a folder or of the hub: Whisper whole, of the others what hears."""
    config = AutoConfig.from_pretrained(source, revision=options.get("revision"))
    if config.model_type not in FAMILIES:
        raise ValueError(f"a model of type {config.model_type!r} is none of {', '.join(FAMILIES)}")
    if config.model_type == "whisper":
        return load_whole(WhisperForConditionalGeneration, source, **options)
    model = load_whole(AutoModel, source, **options)
    return as_wav2vec2(model) if config.model_type == "hubert" else model


def as_wav2vec2(model: PreTrainedModel) -> PreTrainedModel:
    """HuBERT as wav2vec 2.0, which it is in all but its name: its own class hands nothing of ours to its attention.

    Raises ValueError for the few that are built otherwise.
    """
    config = {name: value for name, value in model.config.to_dict().items() if name != "model_type"}
    same = Wav2Vec2Model(Wav2Vec2Config(**config)).to(model.dtype)  # type: ignore[arg-type]
    try:
        same.load_state_dict(model.state_dict())
    except RuntimeError as error:
        raise ValueError("a HuBERT of another build than wav2vec 2.0") from error
    same.config._commit_hash = getattr(model.config, "_commit_hash", None)
    return same


def extractor_config(source: str, **options: Any) -> dict[str, Any]:
    """What `preprocessor_config.json` holds, of a folder or of the hub. Raises OSError where there is none."""
    check_preprocessing(source)
    config, _ = FeatureExtractionMixin.get_feature_extractor_dict(source, **options)
    return config


def hearing_part(model: PreTrainedModel) -> nn.Module:
    """The part of a model that turns audio into states. Raises LookupError for one that shortens them at its end."""
    if getattr(model.config, "add_adapter", False):
        raise LookupError("an adapter behind its layers makes other states of them")
    return model.get_encoder() if model.config.model_type == "whisper" else model.base_model  # type: ignore[return-value]


def audio_layers(model: PreTrainedModel) -> nn.ModuleList:
    """Its layers in order. wav2vec 2.0 has a list of convolutions, too, which may be as long."""
    part = hearing_part(model)
    depth = model.config.encoder_layers if model.config.model_type == "whisper" else model.config.num_hidden_layers
    return compat.layers_of(getattr(part, "encoder", part), depth)  # type: ignore[arg-type]


def n_first(model: PreTrainedModel) -> int:
    """F, states of the model's own before those of the audio."""
    return FAMILIES[model.config.model_type]


def told(part: Any, features: Tensor) -> nn.Module:
    """What hears features of this length. Whisper's encoder refuses all but its own, so it is told of fewer positions.

    The copy shares all weights; it runs the model's own code.
    """
    if not hasattr(part, "embed_positions"):
        return part
    states = features.shape[-1] // 2
    if states == part.embed_positions.num_embeddings:
        return part
    short = copy.copy(part)
    short._modules = dict(part._modules)
    short._modules["embed_positions"] = nn.Embedding.from_pretrained(part.embed_positions.weight[:states])
    short.config = copy.copy(part.config)
    short.config.max_source_positions = states
    return short


def smallest(model: PreTrainedModel) -> Tensor:
    """Features of the smallest audio that a model takes, which nobody listens to."""
    config = model.config
    if config.model_type == "whisper":
        return torch.zeros(1, config.num_mel_bins, 2)
    if config.model_type == "audio-spectrogram-transformer":
        return torch.zeros(1, config.max_length, config.num_mel_bins)
    return torch.zeros(1, 400)
