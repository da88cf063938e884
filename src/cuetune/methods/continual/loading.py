"""The frozen model that a stream is learned on: what is given, what the file names, or the default of its rows."""

from dataclasses import dataclass, field
from typing import Any

from cuetune.backbones.registry import load_backbone, modality_of
from cuetune.backbones.seeing import SeeingBackbone
from cuetune.backbones.text import TextBackbone
from cuetune.errors import CuetuneError
from cuetune.methods.continual.features import FrozenFeatures
from cuetune.methods.continual.learner import Learner
from cuetune.methods.continual.reading import Stream
from cuetune.modality import MODALITIES

ReadyBackbone = TextBackbone | SeeingBackbone
Model = str | ReadyBackbone


@dataclass
class Shared:
    """What runs of several methods on one stream have in common: the frozen model, and what it says of rows, once."""

    backbone: ReadyBackbone | None = None
    features: dict[tuple[int | None, str | None], FrozenFeatures] = field(default_factory=dict, repr=False)

    def lend(self, learner: Learner) -> None:
        """Let a learner on this model remember rows' features together with the others."""
        key = (learner.frozen.head_layer, learner.frozen.pooling)
        learner.frozen = self.features.setdefault(key, learner.frozen)


def backbone_for(model: Model | None, stream: Stream, known: str | None, options: dict[str, Any]) -> ReadyBackbone:
    """The model that is given, or the file's, or what is known, or the default of such rows.

    known: the name of the model that the stream was begun with. Raises CuetuneError for a model that does not read such
    rows, and as `load_backbone` does.
    """
    asked = MODALITIES[stream.modality]
    named = model if model is not None else stream.model or known or asked.model
    backbone: Any = load_backbone(named, reads=asked.name, **options) if isinstance(named, str) else named
    if (reads := modality_of(backbone)) is not asked:
        raise CuetuneError(
            f"{backbone.identity.name} reads {reads.plural}, but the stream is of {asked.plural}; choose another "
            f"model, e.g. --model {asked.model}."
        )
    return backbone
