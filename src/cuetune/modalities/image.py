"""Pictures: vision transformers, with prompts between, in and before their patches, and convolutional networks."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cuetune.errors import CuetuneError
from cuetune.modalities.media import MediaModality


class ImageModality(MediaModality):
    """Pictures in folders of classes, in tables of paths, or in data sets, told apart by a trained head."""

    name = "image"
    plural = "pictures"
    kinds = ("image",)
    model = "dinov2-small"
    prompt = "vpt"
    compared = ("linear-probe", "vpt-shallow", "vpt", "prefix", "frame", "fine-tuning")

    def load(self, name: str, **options: Any) -> Any:
        from cuetune.backbones.image_loading import load_image_backbone

        return load_image_backbone(name, **options)

    def media(self) -> Any:
        from cuetune.data.media.image_files import PICTURES

        return PICTURES

    def faults(self, examples: Sequence[Any], task: Any) -> Sequence[CuetuneError | None]:
        from cuetune.data.media.image_batches import faults

        return faults(examples, task)

    def checked(self, examples: Sequence[Any], task: Any, preparation: Any, table: Any) -> Sequence[Any]:
        from cuetune.data.media.image_batches import checked

        if preparation is None:
            return super().checked(examples, task, preparation, table)
        return checked(examples, task, preparation, table)

    def notes(self, examples: Sequence[Any], task: Any) -> list[str]:
        from cuetune.data.media.image_reading import count_deep

        deep = count_deep(example.fields[task.fields[0]] for example in examples)
        return [f"more than 8 bits a channel, scaled by the range that the file states: {deep:,}"] if deep else []

    def seen(self, model: str, task: Any, example: Any) -> list[str]:
        from cuetune.backbones.image_loading import load_preprocessing
        from cuetune.data.media.image_reading import read_picture

        width, height = read_picture(example.fields[task.fields[0]], example.where).size
        prepared = load_preprocessing(model)
        return [f"{example.where}: {width} x {height} pixels; {model} sees {prepared.size[1]} x {prepared.size[0]}"]

    def methods(self) -> Mapping[str, Any]:
        from cuetune.prompts.start_image import IMAGE_METHODS

        return IMAGE_METHODS

    def methods_of(self, backbone: Any) -> Mapping[str, Any]:
        from cuetune.prompts.start_image import PIXEL_METHODS

        return self.methods() if backbone.takes_states else PIXEL_METHODS

    def run(self, backbone: Any, prompt: Any, data: Any, settings: Any, rows: int, folder: Path | None) -> Any:
        from cuetune.tuning.runs import ImageRun

        return ImageRun(backbone, prompt, data, settings, rows, folder)

    def augmentation(self, kind: str, seed: int) -> Any:
        from cuetune.tuning.runs.augmentation import Augmentation

        return None if kind == "none" else Augmentation(kind, seed)

    def predictor(
        self, backbone: Any, task: Any, prompt: Any, head: Any = None, *, writing: Any = None, skipped: Any = None
    ) -> Any:
        from cuetune.prediction.image import ImagePredictor
        from cuetune.readouts import MediaHead

        if head is None:
            raise CuetuneError(f"a {prompt.kind!r} prompt for pictures without a trained head; tune it again.")
        return ImagePredictor(backbone, task, prompt, MediaHead.of(backbone, task, head), skipped)

    def features(self, backbone: Any, task: Any, layer: int | None = None, head: Any = None) -> Any:
        from cuetune.evaluation.features import features_of

        return features_of(self.name, backbone, task, layer, head)

    def contenders(self) -> Mapping[str, Any]:
        from cuetune.comparison.contenders import IMAGE_CONTENDERS

        return IMAGE_CONTENDERS
