"""Which families of images, audio and video are taken, and why the others are not.

    python benchmarks/media_types.py              # every family, and the table in docs/models.md
    python benchmarks/media_types.py siglip swin  # these alone, printed

A family that is not refused by name is built tiny, with random weights, from its own configuration class, and wrapped.
What is then read of two rows is held against a fresh copy of the same weights with the model's own (eager) attention;
the largest difference is relative to the largest number. "beside": a row in the batch against the row alone.
"""

import copy
import json
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import CONFIG_MAPPING, AutoModel, AutoModelForImageClassification
from transformers.models.auto import modeling_auto as auto

from cuetune.backbones.audio import AudioBackbone
from cuetune.backbones.batches import AudioBatch
from cuetune.backbones.clips import ClipPreprocessing
from cuetune.backbones.compat import audio as compat_audio
from cuetune.backbones.compat import vision as compat_vision
from cuetune.backbones.conv import ConvBackbone
from cuetune.backbones.families import REFUSED, medium, reason_against
from cuetune.backbones.hearing import SpectrogramHearing, WaveHearing, WhisperHearing
from cuetune.backbones.image import ImageBackbone
from cuetune.backbones.preprocessing import Preprocessing
from cuetune.backbones.video import TubesBackbone
from cuetune.errors import CuetuneError

DOCS = Path(__file__).parent.parent / "docs" / "models.md"
BEGIN, END = "<!-- media types: begin -->", "<!-- media types: end -->"
WRONG = 1e-4  # a larger difference is no rounding
SIDE, FRAMES = 32, 4
# Sizes that a configuration gets where it has them; families in `OWN` get those that stand there, and no others.
SIZES: dict[str, Any] = {
    "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 64, "image_size": SIDE,
    "patch_size": 8, "d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4,
    "decoder_attention_heads": 4, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "vocab_size": 64, "num_mel_bins": 16,
    "max_source_positions": 100, "max_target_positions": 32, "projection_dim": 32, "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4, "conv_dim": (32,) * 7, "max_length": 64, "pad_token_id": 0, "bos_token_id": 1,
    "eos_token_id": 2, "decoder_start_token_id": 1, "num_frames": FRAMES, "tubelet_size": 2,
}  # fmt: skip
OWN: dict[str, dict[str, Any]] = {
    "convnext": {"depths": [1, 1, 1, 1], "hidden_sizes": [8, 16, 24, 32]},
    "convnextv2": {"depths": [1, 1, 1, 1], "hidden_sizes": [8, 16, 24, 32]},
    "resnet": {"depths": [1, 1, 1, 1], "hidden_sizes": [8, 16, 24, 32], "embedding_size": 8},
    "regnet": {"depths": [1, 1, 1, 1], "hidden_sizes": [8, 16, 24, 32], "embedding_size": 8, "groups_width": 8},
    "bit": {"depths": [1, 1, 1, 1], "hidden_sizes": [128, 128, 128, 128], "embedding_size": 32},
    "focalnet": {"depths": [1, 1, 1, 1], "embed_dim": 8, "patch_size": 4},
    "efficientnet": {"width_coefficient": 1.0, "depth_coefficient": 1.0, "hidden_dim": 1280},
    "mobilevitv2": {"image_size": 256},
}
PARTS = ("vision_config", "text_config", "audio_config")


@dataclass(frozen=True)
class Outcome:
    """What became of one family. way: "virtual tokens", "pixels", or "" where it is refused with a reason."""

    type: str
    medium: str
    way: str = ""
    reason: str = ""
    difference: float = 0.0
    beside: float = 0.0


def families() -> list[str]:
    """Every type of the installed transformers that classifies images, audio or video, or that is refused by name."""
    listed = (
        auto.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES, auto.MODEL_FOR_ZERO_SHOT_IMAGE_CLASSIFICATION_MAPPING_NAMES,
        auto.MODEL_FOR_MASKED_IMAGE_MODELING_MAPPING_NAMES, auto.MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING_NAMES,
        auto.MODEL_FOR_CTC_MAPPING_NAMES, auto.MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES,
        auto.MODEL_FOR_VIDEO_CLASSIFICATION_MAPPING_NAMES, REFUSED,
        ("dinov3_vit", "mlcd", "aimv2", "dpt", "pixio", "clip_vision_model", "siglip_vision_model"),
    )  # fmt: skip
    return sorted({name for names in listed for name in names if name in CONFIG_MAPPING})


def tiny(model_type: str) -> Any:
    """The family's configuration in the smallest sizes that it has names for."""
    kind = CONFIG_MAPPING[model_type]
    if model_type in OWN:
        return kind(**OWN[model_type])
    usual = kind()
    sizes = {name: value for name, value in SIZES.items() if hasattr(usual, name)}
    for part in PARTS:
        inner = getattr(usual, part, None)
        if inner is not None and not isinstance(inner, dict):
            own = {name: value for name, value in SIZES.items() if hasattr(inner, name)}
            sizes[part] = {**own, "model_type": inner.model_type}
    if isinstance(getattr(usual, "tubelet_size", None), list | tuple):
        sizes["tubelet_size"] = [2, 8, 8]
    return kind(**sizes)


def outcome(model_type: str) -> Outcome:
    """Refused by name, or built, wrapped and compared."""
    try:
        config = tiny(model_type)
    except Exception:  # sizes that do not go together in this family: its usual ones
        config = CONFIG_MAPPING[model_type]()
    kind = medium(config) or ""
    if not kind or (reason := reason_against(model_type, kind)):
        return Outcome(model_type, kind or "image", reason=reason if kind else "it reads texts")
    try:
        way, difference, beside = {"image": _image, "audio": _audio, "video": _video}[kind](config)
    except CuetuneError as error:
        return Outcome(model_type, kind, reason=f"{str(error).partition(': ')[2]}".partition("; choose")[0])
    except Exception as error:  # whatever a random model of this size cannot do
        first = (str(error) or type(error).__name__).splitlines()[0][:100]
        return Outcome(model_type, kind, reason=f"not built in this size here ({first})")
    if difference > WRONG or beside > WRONG:
        return Outcome(model_type, kind, reason="its answers differ from its own", difference=difference, beside=beside)
    return Outcome(model_type, kind, way, "", difference, beside)


def _built(config: Any) -> tuple[Any, Any]:
    """A random model, and a fresh copy with its own eager attention."""
    torch.manual_seed(0)
    classifier = auto.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES.get(config.model_type)
    classifies = isinstance(classifier, str)  # of several, none is the usual one
    model = (AutoModelForImageClassification if classifies else AutoModel).from_config(config).eval()
    for parameter in model.parameters():  # away from their neutral start
        parameter.data += 0.05 * torch.randn(parameter.shape)
    fresh = copy.deepcopy(model)
    fresh.set_attn_implementation("eager")
    return model, fresh


def _apart(ours: Tensor, theirs: Tensor) -> float:
    return float((ours - theirs).abs().max() / theirs.abs().max().clamp_min(1e-6))


@torch.no_grad()
def _image(config: Any) -> tuple[str, float, float]:
    model, fresh = _built(config)
    inner = getattr(config, "vision_config", config)
    side = getattr(inner, "image_size", None) or 64  # a number, or (height, width)
    side = (
        max(64, side) if compat_vision.is_convolutional(config) else side[0] if isinstance(side, list | tuple) else side
    )
    kind = ConvBackbone if compat_vision.is_convolutional(config) else ImageBackbone
    backbone: Any = kind(model, Preprocessing((side, side)), config.model_type)
    pixels = torch.randn(2, 3, side, side)
    part = compat_vision.seeing_part(fresh)
    ours = backbone.hidden(pixels)
    if kind is ConvBackbone:
        theirs = compat_vision.pooled_feature(part, pixels)
    else:
        states = part(pixel_values=pixels).last_hidden_state
        norm = compat_vision.last_norm(fresh)
        theirs = norm(states[:, 0]) if backbone.n_first else norm(states).mean(dim=1)
    alone = torch.cat([backbone.hidden(each[None]) for each in pixels])
    return "pixels" if kind is ConvBackbone else "virtual tokens", _apart(ours, theirs), _apart(ours, alone)


@torch.no_grad()
def _video(config: Any) -> tuple[str, float, float]:
    model, fresh = _built(config)
    backbone = TubesBackbone(model, ClipPreprocessing.over(Preprocessing((SIDE, SIDE)), FRAMES), config.model_type)
    pixels = torch.randn(2, FRAMES, 3, SIDE, SIDE)
    states = fresh(pixel_values=pixels).last_hidden_state
    ours = backbone.hidden(pixels)
    theirs = states[:, 0] if backbone.n_first else states.mean(dim=1)
    alone = torch.cat([backbone.hidden(each[None]) for each in pixels])
    return "virtual tokens", _apart(ours, theirs), _apart(ours, alone)


@torch.no_grad()
def _audio(config: Any) -> tuple[str, float, float]:
    model, fresh = _built(config)
    hearing: Any = WaveHearing()
    if config.model_type == "whisper":
        hearing = WhisperHearing(16000, 2 * 16000, 1, config.num_mel_bins)
    elif config.model_type == "audio-spectrogram-transformer":
        said = {"num_mel_bins": config.num_mel_bins, "max_length": config.max_length}
        hearing = SpectrogramHearing(config=json.dumps(said))
    backbone = AudioBackbone(model, hearing, config.model_type)
    waves = [0.1 * torch.randn(2 * 16000) for _ in range(2)]
    part = compat_audio.hearing_part(fresh)
    features = hearing.features(torch.stack(waves))[..., : 2 * getattr(config, "max_source_positions", 10**6)]
    states = compat_audio.told(part, features)(features).last_hidden_state
    theirs = states[:, : backbone.n_first].mean(dim=1) if backbone.n_first else states.mean(dim=1)
    ours = backbone.hidden(AudioBatch(waves))
    alone = torch.cat([backbone.hidden(AudioBatch([wave])) for wave in waves])
    return "virtual tokens", _apart(ours, theirs), _apart(ours, alone)


def rows(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """The table of docs/models.md: what is taken first."""
    yield "| family | reads | prompts, or why it is not taken |"
    yield "| --- | --- | --- |"
    for each in sorted(outcomes, key=lambda one: (one.medium, not one.way, one.type)):
        yield f"| `{each.type}` | {each.medium} | {each.way or 'not taken: ' + each.reason} |"


def write(outcomes: Sequence[Outcome]) -> None:
    """Put the table between its marks in docs/models.md."""
    text = DOCS.read_text(encoding="utf-8")
    before, after = text.partition(BEGIN)[0], text.partition(END)[2]
    DOCS.write_text(f"{before}{BEGIN}\n" + "\n".join(rows(outcomes)) + f"\n{END}{after}", encoding="utf-8")


def main(asked: Sequence[str]) -> None:
    """Every family, or those that are asked for."""
    warnings.filterwarnings("ignore")
    outcomes = []
    for each in asked or families():
        outcomes.append(outcome(each))
        print(json.dumps(asdict(outcomes[-1])), flush=True)
    if not asked:
        write(outcomes)


if __name__ == "__main__":
    main(sys.argv[1:])
