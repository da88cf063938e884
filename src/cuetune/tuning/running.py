"""Running the loop on prepared data: the backbone of the rows, the method's settings, the run and what it says."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cuetune.backbones.base import Backbone
from cuetune.backbones.registry import load_backbone, modality_of
from cuetune.errors import CuetuneError
from cuetune.modality import Modality
from cuetune.prompts.base import Prompt
from cuetune.prompts.registry import METHODS
from cuetune.tuning.data import Data
from cuetune.tuning.loop import Outcome, Tuner
from cuetune.tuning.progress import Reporter
from cuetune.tuning.runs import TaskData
from cuetune.tuning.settings import Settings


def backbone_for_rows(modality: Modality, model: str | Backbone | None, options: dict[str, Any]) -> Backbone:
    """The model, or the usual one of the rows' modality. Raises CuetuneError for one that does not read such rows."""
    options = {"reads": modality.name, **options}
    backbone = model if isinstance(model, Backbone) else load_backbone(model or modality.model, **options)
    if modality_of(backbone) is not modality:
        raise CuetuneError(
            f"the task is about {modality.plural}, and {backbone.identity.name} reads "
            f"{modality_of(backbone).plural}; choose another model, e.g. --model {modality.model}."
        )
    return backbone


def for_method(modality: Modality, method: str, settings: Settings) -> Settings:
    """Settings with the method's own readout, where none was chosen."""
    methods = METHODS[modality.name]
    if settings.readout != "auto" or method not in methods:
        return settings
    return settings.model_copy(update={"readout": methods[method].readout})


def tuner_of(
    backbone: Backbone,
    prompt: Prompt,
    data: Data,
    settings: Settings,
    folder: Path,
    reporters: Sequence[Reporter],
    restart: bool,
) -> Tuner:
    """The loop with its run folder; restart=True forgets an earlier checkpoint there."""
    return Tuner(
        backbone,
        prompt,
        TaskData(data.task, data.splits.train, data.splits.validation),
        settings,
        folder=folder,
        reporters=reporters,
        data_key=data.key,
        restart=restart,
    )


def run(*what: Any) -> Outcome:
    """The loop of `tuner_of`, to its end."""
    return tuner_of(*what).run_counted()


def settings_line(method: str, settings: Settings, prompt: Prompt, backbone: Backbone) -> str:
    """What a run is about to do, for a person."""
    begun = f", from {settings.init!r}" if settings.init else ""
    return (
        f"{method}: tuning {prompt.n_trained:,} numbers ({prompt.described()}{begun}) on "
        f"{backbone.identity.name} ({str(backbone.dtype).removeprefix('torch.')}, {backbone.device}): "
        f"{settings.steps} steps of {settings.batch_size} rows, learning rate {settings.learning_rate:g}, "
        f"seed {settings.seed}"
    )
