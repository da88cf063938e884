"""Which models of images, audio and video are taken, and why the others are not: one table for every verb.

`docs/models.md` shows it, written by `benchmarks/media_types.py`, which builds every family and tries.
"""

from typing import Any

from cuetune.backbones.compat.audio import FAMILIES
from cuetune.backbones.compat.video import TUBES
from cuetune.errors import CuetuneError

STAGES = "its layers are stages of windows or of different widths, in which virtual tokens have no place"
OWN_ATTENTION = "its attention does not go through transformers' interface"
NO_FEATURE = "it pools no feature that a head could read"
# Type of a model -> why it is not taken. Whatever is not named here is tried, and tested by a short pass.
REFUSED: dict[str, str] = {
    **dict.fromkeys(("swin", "swinv2", "donut-swin", "maskformer-swin", "hiera", "cvt", "pvt", "pvt_v2"), STAGES),
    **dict.fromkeys(("segformer", "mobilevit", "dinov3_convnext", "levit", "dinat", "swin2sr", "glpn"), STAGES),
    **dict.fromkeys(("blip", "blip-2", "vitdet", "data2vec-vision", "align"), OWN_ATTENTION),
    **dict.fromkeys(("hgnet_v2", "poolformer", "pp_lcnet", "swiftformer"), NO_FEATURE),
    "vit_mae": "it hides patches at random in every pass",
    "siglip2": "it reads images as lists of patches of many sizes (NaFlex); take a SigLIP 2 of a fixed size",
    "imagegpt": "it reads images as words of a colour table",
    "shieldgemma2": "it is a language model that judges images",
    "perceiver": "it has no states of patches",
    "timm_wrapper": "it is a model of the library timm; take its counterpart of transformers",
    "timm_backbone": "it is a model of the library timm; take its counterpart of transformers",
    "yolos": "it finds objects, with states of its own for each of a hundred",
    "wavlm": "its layers hand on relative positions that virtual tokens do not have",
    "wav2vec2-conformer": "its layers hold convolutions over time, into which virtual tokens would leak",
    "wav2vec2-bert": "its layers hold convolutions over time, into which virtual tokens would leak",
    "sew": "it squeezes time between its layers",
    "sew-d": "it squeezes time between its layers",
    "clap": "its layers are stages of windows over a spectrogram",
    "timesformer": "it attends in time and in space apart, and virtual tokens belong to neither",
    "vjepa2": "its attention turns states by their places, and virtual tokens have none",
    "videoprism": "it attends in space and in time apart",
    "xclip": "it attends to frames and to messages between them apart",
}
ALTERNATIVES = {
    "image": "ViT, DINOv2, CLIP, SigLIP or ResNet, e.g. --model dinov2-small",
    "audio": "Whisper, wav2vec 2.0, HuBERT, UniSpeech or AST, e.g. --model whisper-tiny-en",
    "video": "VideoMAE, ViViT or an image model over frames, e.g. --model dinov2-small@8x98",
}


def family(model_type: str) -> str:
    """A type without what says that one part of the model stands alone: "clip_vision_model" is of the family clip."""
    for part in ("_vision_model", "_audio_model", "_vision_encoder", "_encoder"):
        model_type = model_type.removesuffix(part)
    return model_type


def medium(config: Any) -> str | None:
    """What a model reads by its configuration: "image", "audio" or "video"; None for one that may read texts."""
    from transformers.models.auto import feature_extraction_auto, image_processing_auto
    from transformers.models.auto import modeling_auto as auto

    own = str(getattr(config, "model_type", ""))
    types = {own, family(own)}

    def among(*mappings: Any) -> bool:
        return any(each in mapping for mapping in mappings for each in types)

    sees = (
        auto.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES,
        auto.MODEL_FOR_ZERO_SHOT_IMAGE_CLASSIFICATION_MAPPING_NAMES,
    )
    hears = (
        auto.MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING_NAMES,
        auto.MODEL_FOR_CTC_MAPPING_NAMES,
        auto.MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES,
    )
    writes = (auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES)
    masked = any(name.endswith("MaskedLM") for name in getattr(config, "architectures", None) or ())
    if among(auto.MODEL_FOR_VIDEO_CLASSIFICATION_MAPPING_NAMES, ("xclip", "videoprism")):
        return "video"
    if among(*hears):
        return "audio"
    if among(*sees, auto.MODEL_FOR_BACKBONE_MAPPING_NAMES) and not masked:
        return "image"
    if among(*writes) or masked:
        return None
    if among(feature_extraction_auto.FEATURE_EXTRACTOR_MAPPING_NAMES):
        return "audio"
    seen = among(image_processing_auto.IMAGE_PROCESSOR_MAPPING_NAMES) or hasattr(config, "vision_config")
    return "image" if seen else None


def reason_against(model_type: str, kind: str) -> str:
    """Why a family is not taken, in a few words; empty for one that is taken or has to be tried."""
    known = REFUSED.get(model_type) or REFUSED.get(family(model_type), "")
    taken = {"audio": tuple(FAMILIES), "video": TUBES}.get(kind)
    return known or ("" if taken is None or model_type in taken else "no way is known here in which it takes prompts")


def check_family(model_type: str, kind: str, name: str) -> None:
    """Raise CuetuneError, in one line, for a model whose family is not taken."""
    if reason := reason_against(model_type, kind):
        raise CuetuneError(
            f"{name}: a model of {kind} of type {model_type!r} is not taken: {reason}. Take {ALTERNATIVES[kind]}."
        )
