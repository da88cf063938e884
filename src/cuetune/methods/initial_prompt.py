"""What a run starts from: words, numbers, or another prompt."""

from pathlib import Path
from typing import Any

from torch import Tensor

from cuetune.backbones.base import Backbone
from cuetune.backbones.registry import modality_of
from cuetune.backbones.text import TextBackbone
from cuetune.errors import CuetuneError
from cuetune.library.digest import digest
from cuetune.library.tuned import TunedPrompt
from cuetune.library.universal import RECORD as UNIVERSAL
from cuetune.library.universal import UniversalPrompt, universal_for
from cuetune.methods.wording import WORDINGS, few_shot, prompt_in_words
from cuetune.prompts.base import Prompt
from cuetune.prompts.initial import initial_embeddings, soft_from_hard
from cuetune.prompts.multitask import ADAPTED_RATE, TASK_RATE
from cuetune.prompts.registry import STARTS, build
from cuetune.prompts.start import given_options
from cuetune.prompts.start_text import TextStart
from cuetune.tuning.data import Data
from cuetune.tuning.settings import Settings


def first_prompt(
    backbone: Backbone, data: Data, method: str, shots: int, settings: Settings, start: str | Path | None = None
) -> Prompt:
    """The prompt a run starts from, or the finished one where nothing is tuned."""
    if isinstance(backbone, TextBackbone):
        return _first_text_prompt(backbone, data, method, shots, settings, start)
    modality = modality_of(backbone)
    if start is not None:
        raise CuetuneError(f"a prompt for {modality.plural} starts from no other; leave --start out.")
    how = settings.length, settings.seed, settings.head_layer
    begun = STARTS[modality.name].of(backbone, data.task, data.splits.train, *how)
    return build(method, begun, settings.prompt_options)


def _first_text_prompt(
    backbone: TextBackbone, data: Data, method: str, shots: int, settings: Settings, start: str | Path | None = None
) -> Prompt:
    if settings.head_layer is not None:
        raise CuetuneError("--head-layer does not apply to texts: their prompts are read at the last layer.")
    if method == "soft-from-hard":
        return soft_from_hard(few_shot(backbone, data.task, data.splits.train, shots, settings.seed))
    if method in WORDINGS:
        return prompt_in_words(
            backbone,
            data.task,
            data.splits.train,
            method,
            shots,
            start=start,
            options=settings.prompt_options,
            seed=settings.seed,
        )
    if method == "multitask":
        return _adapted(start, backbone, data.task.name, settings)
    if start is not None:
        embeddings = embeddings_of(start, backbone)
    else:
        embeddings = initial_embeddings(
            backbone, data.task, init=settings.init, length=settings.length, text=settings.init_text, seed=settings.seed
        )
    return build(method, TextStart(backbone, embeddings, settings.init, settings.seed), settings.prompt_options)


def _adapted(start: str | Path | None, backbone: TextBackbone, task: str, settings: Settings) -> Prompt:
    """The start of a new task from what the tasks of a universal prompt share."""
    if start is None:
        raise CuetuneError("prompt 'multitask' starts from a universal prompt; name its folder with --start.")
    how = given_options(
        "multitask", {"frozen": False, "task_rate": TASK_RATE, "rate": ADAPTED_RATE}, settings.prompt_options
    )
    return universal_for(start, backbone).prompt.adapted([task], **how)


def ancestor(folder: str | Path) -> dict[str, Any]:
    """What a prompt was started from, as its record says it."""
    folder = Path(folder)
    if (folder / UNIVERSAL).exists():
        return {"relation": "started from", "name": folder.name, "digest": UniversalPrompt.load(folder).digest}
    return {"relation": "started from", "name": folder.name, "digest": digest(TunedPrompt.load(folder))}


def embeddings_of(folder: str | Path, backbone: TextBackbone) -> Tensor:
    """The virtual tokens (P, d) of a saved prompt. Raises CuetuneError for one that has none at the embedding layer."""
    saved = TunedPrompt.load(folder)
    saved.backbone.check(backbone.identity, str(folder))
    injection = saved.prompt.injection()
    if set(injection.tokens) != {0} or injection.kv:
        raise CuetuneError(
            f"{folder}: a {saved.prompt.kind!r} prompt has no virtual tokens at the embedding layer to start from."
        )
    return injection.tokens[0].detach()
