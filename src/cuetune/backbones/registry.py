"""Which modality a model reads, and how each is loaded: by name, from a folder, or from the Hugging Face hub."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cuetune.backbones.audio_loading import load_audio_backbone
from cuetune.backbones.base import Backbone
from cuetune.backbones.compat.text import also_reads_texts
from cuetune.backbones.families import REFUSED, check_family, medium
from cuetune.backbones.image_loading import load_image_backbone
from cuetune.backbones.loading import DEFAULT, load_text_backbone, model_folder
from cuetune.backbones.text import TextBackbone
from cuetune.backbones.video_loading import load_video_backbone, over_frames
from cuetune.errors import CuetuneError
from cuetune.modality import MODALITIES, TEXT, VIDEO, Modality, modality_of_kind
from cuetune.support import plugins
from cuetune.support.named_paths import possible, relative_to_here
from cuetune.support.strict_json import DAMAGED

LOADERS: dict[str, Callable[..., Backbone]] = {
    "image": load_image_backbone,
    "audio": load_audio_backbone,
    "video": load_video_backbone,
    "text": load_text_backbone,
}


def load_backbone(
    name: str | Path = DEFAULT,
    *,
    revision: str | None = None,
    dtype: str = "auto",
    device: str = "auto",
    trust_remote_code: bool = False,
    reads: str | None = None,
) -> Backbone:
    """A frozen `Backbone`, ready for prompts; what it reads is what the model's configuration says.

    name: a bundled model (`cuetune models`), a local folder, or a model id of the hub (HF_HUB_OFFLINE is honoured).
    dtype: "float32", "bfloat16", "float16", or "auto": bfloat16 where the hardware multiplies it, else float32.
    device: "cpu", "cuda", "cuda:1", or "auto": a GPU when there is one.
    reads: the modality of the rows, which decides where a model takes several ("text" of one that also sees).
    Raises CuetuneError when the model is not found, is of no modality that is known, or does not take injections.
    """
    name = os.fspath(name)
    code: dict[str, Any] = {"revision": revision, "trust_remote_code": trust_remote_code}
    backbone = LOADERS[modality_of_model(name, reads, **code).name](name, dtype=dtype, device=device, **code)
    backbone.folder = relative_to_here(name) if model_folder(name) is not None else None
    return backbone


def text_backbone(model: str | Path | Backbone, **options: Any) -> TextBackbone:
    """A backbone that reads texts, loaded where only its name is given. Raises CuetuneError for one of another kind."""
    backbone = load_backbone(model, **{"reads": "text", **options}) if isinstance(model, str | Path) else model
    if not isinstance(backbone, TextBackbone):
        raise CuetuneError(f"{backbone.identity.name} is not a text model; choose a language model.")
    return backbone


def modality_of(backbone: Backbone) -> Modality:
    """The modality that a backbone reads."""
    return modality_of_kind(backbone.kind)


def modality_of_model(name: str, reads: str | None = None, **options: Any) -> Modality:
    """The modality of a model by name, of which only the configuration is read.

    reads: the modality of the rows: "text" chooses the language part of a model that also sees or hears. options: see
    `load_backbone`.
    """
    from transformers import AutoConfig

    if over_frames(str(possible(name))):
        return VIDEO
    name = name if Path(name).is_dir() else name.partition("@")[0]  # "dinov2-small@98" names a size too
    if (offered := plugins.model(name)) is not None:
        return modality_of_kind(offered.kind)
    known = {key: options[key] for key in ("revision", "trust_remote_code") if key in options}
    try:
        config = AutoConfig.from_pretrained(name, **known)
    except ImportError as error:  # timm's checkpoints
        raise CuetuneError(f"{name}: {REFUSED['timm_wrapper']}.") from error
    except (OSError, *DAMAGED):
        return TEXT  # loading it will say what is wrong
    if reads == TEXT.name and also_reads_texts(config):
        return TEXT
    kind = medium(config)
    if kind is None:
        return TEXT
    check_family(config.model_type, kind, name)
    return MODALITIES[kind]
