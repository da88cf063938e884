"""Loading a model of clips by name: an image model with the number of frames behind it, or a VideoMAE."""

import re
from pathlib import Path
from typing import Any

from cuetune.backbones.bundled import resolve
from cuetune.backbones.clips import ClipPreprocessing
from cuetune.backbones.image_loading import load_image_backbone, load_preprocessing
from cuetune.backbones.loading import _device, _dtype, _plain_name, quiet
from cuetune.backbones.preprocessing import Preprocessing
from cuetune.backbones.video import FramesBackbone, TubesBackbone
from cuetune.errors import CuetuneError

DEFAULT_VIDEO = "dinov2-small@8x98"  # half again as many states as one picture of 224 x 224
OVER_FRAMES = re.compile(r"(?P<model>.+)@(?P<frames>[1-9]\d?)(?:x(?P<side>[1-9]\d{0,3}))?")


def over_frames(name: str) -> re.Match[str] | None:
    """The parts of "MODEL@FRAMES" or "MODEL@FRAMESxSIDE", an image model over so many frames; None for other names."""
    return None if Path(name).is_dir() else OVER_FRAMES.fullmatch(name)


def load_video_backbone(
    name: str = DEFAULT_VIDEO,
    *,
    revision: str | None = None,
    dtype: str = "auto",
    device: str = "auto",
    trust_remote_code: bool = False,
) -> FramesBackbone | TubesBackbone:
    """A frozen backbone of clips, ready for prompts.

    name: "MODEL@FRAMES" or "MODEL@FRAMESxSIDE" for a vision transformer over so many frames, SIDE pixels a side where
    that is not its own size ("dinov2-small@8x98"); MODEL as of `load_image_backbone`. Without @ a VideoMAE: a folder or
    a model id of the hub. dtype, device: as of `load_backbone`.
    Raises CuetuneError where the model is not found, does not take injections, or such a size.
    """
    options: dict[str, Any] = {"revision": revision, "trust_remote_code": trust_remote_code}
    if asked := over_frames(name):
        still = load_image_backbone(asked["model"], dtype=dtype, device=device, **options)
        prepared = ClipPreprocessing.over(_sized(still, asked["side"], name), int(asked["frames"]))
        own = still.identity.name + name.removeprefix(asked["model"])
        return FramesBackbone(still.model, prepared, own, still.identity.revision)
    return _tubes(name, dtype, device, options)


def _tubes(name: str, dtype: str, device: str, options: dict[str, Any]) -> TubesBackbone:
    from cuetune import compat_video

    quiet()
    place = _device(device)
    try:
        model = compat_video.load_tubes(resolve(name), dtype=_dtype(dtype, place), use_safetensors=True, **options)
    except (OSError, ValueError, ImportError, KeyError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CuetuneError(f"{name}: no model of clips could be loaded ({reason}).") from error
    frames, *_ = compat_video.clip_size(model.config)
    prepared = ClipPreprocessing.over(load_preprocessing(name, revision=options["revision"]), frames)
    commit = getattr(model.config, "_commit_hash", None)
    return TubesBackbone(model.to(place), prepared, _plain_name(name), options["revision"] or commit)


def _sized(still: Any, side: str | None, name: str) -> Preprocessing:
    """How frames of this side are prepared. Raises CuetuneError for a side that the model's patches do not fill."""
    if side is None:
        return still.preprocessing
    height, width = still.patch
    if int(side) % height or int(side) % width:
        raise CuetuneError(
            f"{name}: patches of {height} x {width} pixels do not fill {side} x {side}; give a multiple, like "
            f"{max(1, round(int(side) / height)) * height}."
        )
    return still.preprocessing.sized(int(side))
