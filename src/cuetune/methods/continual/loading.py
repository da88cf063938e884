"""The frozen model that a stream is learned on: by name, and taking pictures of a smaller size where time is short."""

from dataclasses import replace
from typing import Any

from cuetune.backbones.image import ImageBackbone
from cuetune.backbones.loading import load_backbone
from cuetune.backbones.text import TextBackbone
from cuetune.errors import CuetuneError
from cuetune.methods.continual.reading import Stream
from cuetune.modalities import MODALITIES

ReadyBackbone = TextBackbone | ImageBackbone
Model = str | ReadyBackbone


def backbone_for(
    model: Model | None, stream: Stream, size: int | None, known: str | None, options: dict[str, Any]
) -> ReadyBackbone:
    """The model that is given, or the file's, or what is known, or the default of such rows.

    size: of the pictures that it takes. known: the name of the model that the stream was begun with.
    Raises CuetuneError for a model that does not read such rows, and as `load_backbone` and `resized` do.
    """
    if isinstance(model, TextBackbone | ImageBackbone):
        return model
    backbone: Any = load_backbone(model or stream.model or known or MODALITIES[stream.modality].model, **options)
    reads = isinstance(backbone, ImageBackbone)
    if reads != (stream.modality == "image"):
        asked = MODALITIES[stream.modality]
        raise CuetuneError(
            f"{backbone.identity.name} reads {'pictures' if reads else 'texts'}, but the stream is of {asked.plural}; "
            f"choose another model, e.g. --model {asked.model}."
        )
    return resized(backbone, size) if size is not None and reads else backbone


def resized(backbone: ImageBackbone, side: int) -> ImageBackbone:
    """The same model taking pictures of `side` x `side` pixels: its time grows with the square of it.

    Raises CuetuneError for a side that its patches do not fill.
    """
    height, width = backbone.patch
    if side % height or side % width:
        raise CuetuneError(
            f"size {side}: {backbone.identity.name} sees patches of {height} x {width} pixels; give a multiple, like "
            f"{max(1, round(side / height)) * height}."
        )
    prepared = backbone.preprocessing
    resize = prepared.resize
    if isinstance(resize, int):  # the shorter side, from which the middle is cut: the same share of it
        resize = round(resize * side / prepared.size[0])
    elif resize is not None:
        resize = (round(resize[0] * side / prepared.size[0]), round(resize[1] * side / prepared.size[1]))
    prepared = replace(prepared, size=(side, side), resize=resize)
    return ImageBackbone(backbone.model, prepared, backbone.identity.name, backbone.identity.revision)
