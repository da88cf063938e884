"""Putting saved prompts together as an ensemble: same frozen model, same question, one vote."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from cuetune.answers import refuse
from cuetune.errors import CuetuneError
from cuetune.library.tuned import TunedPrompt
from cuetune.prompts.ensemble import EnsemblePrompt


def ensemble(folders: Sequence[str | Path], to: str | Path, *, vote: str = "majority", overwrite: bool = False) -> Path:
    """Save the prompts in `folders` as one that answers by vote (Lester et al. 2021, section 6); returns `to`.

    Each row is then read under all of them in one pass. Raises CuetuneError unless all were made for the same backbone
    and ask the same question with the same labels.
    """
    if len(folders) < 2:
        raise CuetuneError("an ensemble needs two or more saved prompts.")
    loaded = [TunedPrompt.load(folder) for folder in folders]
    first = loaded[0]
    refuse(first.task, "ensemble")
    for folder, other in zip(folders[1:], loaded[1:], strict=True):
        other.backbone.check(first.backbone, str(folder))
        if _asked(other) != _asked(first):
            raise CuetuneError(
                f"{folder}: asks another question than {folders[0]} (template, labels or label words differ); an "
                "ensemble needs prompts of one task."
            )
    if any(each.head for each in loaded):
        raise CuetuneError("prompts with trained heads do not vote together yet; tune them with --readout words.")
    members = [member for each in loaded for member in each.prompt.members]
    walks = any(each.task.scoring == "walk" for each in loaded)  # all members score alike, as the later ones learned to
    task = replace(first.task, scoring="walk") if walks else first.task
    return TunedPrompt(EnsemblePrompt(members, vote), task, first.backbone, {}).save(to, overwrite=overwrite)


def _asked(tuned: TunedPrompt) -> tuple[object, ...]:
    task = tuned.task
    return task.template, task.labels, task.label_words, task.max_tokens
