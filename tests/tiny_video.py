"""Tiny random video models, and videos: the mathematics of video is tested on these, without a download."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import VideoMAEConfig, VideoMAEModel

from cuetune.backbones.clips import ClipPreprocessing
from cuetune.backbones.video import FramesBackbone, TubesBackbone
from tiny_vision import HEADS, LAYERS, PATCH, PREPARED, SIDE, WIDTH, vision_model

FRAMES = 4
CLIPS = ClipPreprocessing.over(PREPARED, FRAMES)
TUBES = (FRAMES // 2) * (SIDE // PATCH) ** 2


@cache
def frames_backbone(family: str = "vit") -> FramesBackbone:
    """A tiny image model over frames; shared by tests, which must not change it."""
    return FramesBackbone(vision_model(family), CLIPS, f"tiny-{family}@{FRAMES}")


def tubes_model(seed: int = 0, pooled: bool = True) -> Any:
    """A random VideoMAE. pooled: without a last norm, as the fine-tuned ones are."""
    torch.manual_seed(seed)
    sizes: dict[str, Any] = {"hidden_size": WIDTH, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS}
    sizes |= {"intermediate_size": 64, "image_size": SIDE, "patch_size": PATCH, "num_frames": FRAMES}
    model = VideoMAEModel(VideoMAEConfig(**sizes, initializer_range=0.3, use_mean_pooling=pooled)).eval()
    for parameter in model.parameters():  # biases and norms are not at their neutral start
        if parameter.dim() == 1:
            parameter.data += 0.1 * torch.randn(parameter.shape)
    return model


@cache
def tubes_backbone(pooled: bool = True) -> TubesBackbone:
    """The wrapped tiny VideoMAE; shared by tests, which must not change it."""
    return TubesBackbone(tubes_model(pooled=pooled), CLIPS, "tiny-videomae")


def clips(count: int = 3, seed: int = 0) -> torch.Tensor:
    """Normalised pixels (B, T, 3, H, W) of no videos in particular."""
    return torch.randn(count, FRAMES, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))


def film(
    path: Path, frames: Any, codec: str = "libx264", rate: int = 10, options: dict[str, str] | None = None
) -> Path:
    """Frames (N, H, W, 3) uint8 as a video file."""
    import av

    with av.open(str(path), "w") as file:
        stream: Any = file.add_stream(codec, rate=rate, options=options or {})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "rgb8" if codec == "gif" else "yuv420p"
        for frame in frames:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
        file.mux(stream.encode())
    return path


def counted(length: int, side: int = 32) -> np.ndarray:
    """Frames (N, H, W, 3) that tell their own numbers: as three digits to the base 4 in the greys of three bands."""
    made = np.zeros((length, side, side, 3), dtype=np.uint8)
    for number in range(length):
        for band in range(4):
            made[number, :, band * side // 4 : (band + 1) * side // 4] = 40 + 60 * (number // 4**band % 4)
    return made


def number_of(frame: Any) -> int:
    """The number that a frame of `counted` tells, through compression."""
    grey = np.asarray(frame).astype(int).mean(axis=(0, 2))
    side = len(grey)
    digits = [round((grey[band * side // 4 + 2 : (band + 1) * side // 4 - 2].mean() - 40) / 60) for band in range(4)]
    return sum(digit * 4**band for band, digit in enumerate(digits))
