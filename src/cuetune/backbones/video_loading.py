"""Loading a video model by name: an image model with the number of frames behind it, or a VideoMAE."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from cuetune.backbones.clips import ClipPreprocessing
from cuetune.backbones.compat import video as compat_video
from cuetune.backbones.image import ImageBackbone
from cuetune.backbones.image_loading import load_image_backbone, load_preprocessing
from cuetune.backbones.loading import _device, _dtype, _plain_name
from cuetune.backbones.media import with_stored_hash
from cuetune.backbones.video import FramesBackbone, TubesBackbone
from cuetune.errors import CuetuneError
from cuetune.support.plugins import resolve_model

DEFAULT_VIDEO = "dinov2-small@8x98"  # half again as many states as one image of 224 x 224
OVER_FRAMES = re.compile(r"(?P<model>.+)@(?P<frames>[1-9]\d?)x(?P<side>[1-9]\d{0,3})")


def over_frames(name: str) -> re.Match[str] | None:
    """The parts of "MODEL@8x98", an image model over 8 frames of 98 x 98 pixels; None for other names."""
    return None if Path(name).is_dir() else OVER_FRAMES.fullmatch(name)


def load_video_backbone(
    name: str = DEFAULT_VIDEO,
    *,
    revision: str | None = None,
    dtype: str = "auto",
    device: str = "auto",
    trust_remote_code: bool = False,
) -> FramesBackbone | TubesBackbone:
    """A frozen backbone of videos, ready for prompts.

    name: "MODEL@8x98" for a vision transformer over 8 frames of 98 x 98 pixels, MODEL as of `load_image_backbone`; else
    a VideoMAE, a folder or a model id of the hub. Frames and size are part of the name that is recorded, so that a
    saved prompt finds its way back. dtype, device: as of `load_backbone`.
    Raises CuetuneError where the model is not found, does not take injections, or such a size.
    """
    options: dict[str, Any] = {"revision": revision, "trust_remote_code": trust_remote_code}
    if asked := over_frames(name):
        still = load_image_backbone(f"{asked['model']}@{asked['side']}", dtype=dtype, device=device, **options)
        if not isinstance(still, ImageBackbone):
            raise CuetuneError(f"{name}: videos are seen by vision transformers, and {still.identity.name} is none.")
        prepared = ClipPreprocessing.over(still.preprocessing, int(asked["frames"]))
        own = f"{_plain_name(asked['model'])}@{asked['frames']}x{asked['side']}"
        frames = FramesBackbone(still.model, prepared, own, still.identity.revision)
        stored, also = still.identity.weights_hash, still.identity.also
        frames.identity = replace(frames.identity, weights_hash=stored, also=also)
        return frames
    place = _device(device)
    return with_stored_hash(lambda wanted: _tubes(name, wanted, place, options), _dtype(dtype, place))


def _tubes(name: str, dtype: Any, place: Any, options: dict[str, Any]) -> TubesBackbone:
    try:
        model = compat_video.load_tubes(resolve_model(name), dtype=dtype, use_safetensors=True, **options)
    except (OSError, ValueError, ImportError, KeyError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CuetuneError(f"{name}: no video model could be loaded ({reason}).") from error
    frames, *_ = compat_video.clip_size(model.config)
    prepared = ClipPreprocessing.over(load_preprocessing(name, revision=options["revision"]), frames)
    commit = getattr(model.config, "_commit_hash", None)
    return TubesBackbone(model.to(place), prepared, _plain_name(name), options["revision"] or commit)


def load_clip_preprocessing(name: str = DEFAULT_VIDEO, *, revision: str | None = None) -> ClipPreprocessing:
    """How a model's videos are prepared, without its weights. name: as of `load_video_backbone`."""
    if asked := over_frames(name):
        still = load_preprocessing(f"{asked['model']}@{asked['side']}", revision=revision)
        return ClipPreprocessing.over(still, int(asked["frames"]))
    from transformers import AutoConfig

    frames, *_ = compat_video.clip_size(AutoConfig.from_pretrained(resolve_model(name), revision=revision))
    return ClipPreprocessing.over(load_preprocessing(name, revision=revision), frames)
