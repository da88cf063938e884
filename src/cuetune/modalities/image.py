"""Pictures: vision transformers, with prompts between, in and before their patches."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cuetune.errors import CuetuneError
from cuetune.modalities.base import Modality

NO_USE = ("text", "template", "label_words", "instruction", "columns", "max_tokens", "generate")  # options of texts


class ImageModality(Modality):
    """Pictures in folders of classes, in tables of paths, or in data sets, told apart by a trained head."""

    name = "image"
    plural = "pictures"
    kinds = ("image",)
    model = "dinov2-small"
    prompt = "vpt"
    compared = ("linear-probe", "vpt-shallow", "vpt", "prefix", "frame", "fine-tuning")

    def loads(self, config: Any) -> bool:
        from cuetune.compat_vision import is_vision

        return is_vision(config)

    def load(self, name: str, **options: Any) -> Any:
        from cuetune.backbones.image_loading import load_image_backbone

        return load_image_backbone(name, **options)

    def in_folder(self, folder: Path) -> bool:
        from cuetune.tasks.images import PICTURES

        return PICTURES.in_folder(folder)

    def holds(self, rows: Sequence[Any]) -> bool:
        from cuetune.tasks.images import PICTURES

        return PICTURES.holds(rows)

    def read(self, source: Any, *, encoding: str = "utf-8", labelled: bool = True) -> Iterator[Any]:
        from cuetune.tasks.images import PICTURES

        return PICTURES.read(source, encoding=encoding, labelled=labelled)

    def infer(self, rows: Sequence[Any], **options: Any) -> Any:
        from cuetune.tasks.images import PICTURES

        for name in NO_USE:
            if options.pop(name, None):
                raise CuetuneError(f"--{name.replace('_', '-')} is for texts, and these rows hold pictures; leave it.")
        return PICTURES.infer(rows, column=options.pop("image", None), **options)

    def faults(self, examples: Sequence[Any], task: Any) -> Sequence[CuetuneError | None]:
        from cuetune.tasks.decoding import faults

        return faults(examples, task)

    def seen(self, model: str, task: Any, example: Any) -> list[str]:
        from cuetune.backbones.image_loading import load_preprocessing
        from cuetune.tasks.decoding import rows_of
        from cuetune.tasks.pictures import read_picture

        (row,) = rows_of([example], task)
        width, height = read_picture(row.values["image"], row.where).size
        prepared = load_preprocessing(model)
        return [f"{example.where}: {width} x {height} pixels; {model} sees {prepared.size[1]} x {prepared.size[0]}"]

    def methods(self) -> Mapping[str, Any]:
        from cuetune.prompts.visual_building import IMAGE_METHODS

        return IMAGE_METHODS

    def begin(
        self, backbone: Any, data: Any, method: str, shots: int, settings: Any, start: str | Path | None = None
    ) -> Any:
        from cuetune.prompts.visual_building import build_for_images, start_from

        if start is not None:
            raise CuetuneError("a prompt for pictures starts from no other; leave --start out.")
        begun = start_from(backbone, data.task, data.splits.train, settings.length, settings.seed, settings.read_layer)
        return build_for_images(method, begun, settings.options)

    def run(self, backbone: Any, prompt: Any, data: Any, settings: Any, rows: int, folder: Path | None) -> Any:
        from cuetune.tuning.image_run import ImageRun

        return ImageRun(backbone, prompt, data, settings, rows, folder)

    def predictor(
        self, backbone: Any, task: Any, prompt: Any, head: Any = None, *, writing: Any = None, skipped: Any = None
    ) -> Any:
        from cuetune.picture_prediction import PicturePredictor
        from cuetune.readouts.image_head import ImageHead

        if head is None:
            raise CuetuneError(f"a {prompt.kind!r} prompt for pictures without a trained head; tune it again.")
        return PicturePredictor(backbone, task, prompt, ImageHead.of(backbone, task, head), skipped)

    def baselines(
        self,
        backbone: Any,
        task: Any,
        shown: Sequence[Any],
        *,
        head: Any = None,
        shots: int = 8,
        seed: int = 0,
        writing: Any = None,
    ) -> dict[str, Any]:
        from cuetune.methods.image_probe import probe_beside

        return probe_beside(backbone, task, shown, head, seed)

    def features(self, backbone: Any, task: Any, layer: int | None = None) -> Any:
        from cuetune.methods.image_probe import PictureFeatures

        return PictureFeatures(backbone, task, layer)

    def contenders(self) -> Mapping[str, Any]:
        from cuetune.evaluation.contenders import IMAGE_CONTENDERS

        return IMAGE_CONTENDERS
