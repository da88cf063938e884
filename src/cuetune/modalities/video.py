"""Clips: vision transformers over frames or tubes. What is done to pictures is done to frames."""

from collections.abc import Mapping, Sequence
from typing import Any

from cuetune.modalities.image import ImageModality


class VideoModality(ImageModality):
    """Clips in folders of classes, in tables of paths, or in data sets, told apart by a trained head."""

    name = "video"
    plural = "clips"
    kinds = ("video",)
    model = "dinov2-small@8x98"
    prompt = "temporal"
    compared = ("linear-probe", "temporal", "vpt", "vpt-shallow", "prefix", "fine-tuning")

    def named(self, model: str) -> bool:
        from cuetune.backbones.video_loading import over_frames

        return over_frames(model) is not None

    def load(self, name: str, **options: Any) -> Any:
        from cuetune.backbones.video_loading import load_video_backbone

        return load_video_backbone(name, **options)

    def media(self) -> Any:
        from cuetune.data.media.video_files import VIDEOS

        return VIDEOS

    def notes(self, examples: Sequence[Any], task: Any) -> list[str]:
        return []

    def seen(self, model: str, task: Any, example: Any) -> list[str]:
        from cuetune.backbones.clips import evenly
        from cuetune.backbones.video_loading import load_clip_preprocessing
        from cuetune.data.media.video_reading import read_clip

        prepared = load_clip_preprocessing(model)
        pictures, length = read_clip(example.fields[task.fields[0]], example.where, prepared.frames)
        width, height = [picture.size for picture in pictures][0]
        taken = ", ".join(str(number + 1) for number in evenly(length, prepared.frames))
        return [
            f"{example.where}: {length:,} frames of {width} x {height} pixels; {model} sees frames {taken} in "
            f"{prepared.size[1]} x {prepared.size[0]}"
        ]

    def cut(self, count: int, task: Any, limit: int = 0) -> str:
        return f"{count:,} clips have fewer frames than the model sees: some of theirs were taken again."

    def methods(self) -> Mapping[str, Any]:
        from cuetune.prompts.start_image import VIDEO_METHODS

        return VIDEO_METHODS

    def methods_of(self, backbone: Any) -> Mapping[str, Any]:
        """A model that sees all frames at once has no place for each frame's own prompt."""
        from cuetune.backbones.video import TubesBackbone

        taken = super().methods_of(backbone)
        return {
            name: each for name, each in taken.items() if name != self.prompt or not isinstance(backbone, TubesBackbone)
        }

    def features(self, backbone: Any, task: Any, layer: int | None = None, head: Any = None) -> Any:
        from cuetune.evaluation.features import features_of

        return features_of(self.name, backbone, task, layer, head)

    def contenders(self) -> Mapping[str, Any]:
        from cuetune.comparison.contenders import VIDEO_CONTENDERS

        return VIDEO_CONTENDERS
