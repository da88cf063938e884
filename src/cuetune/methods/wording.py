"""Prompts in words by name, as `tune` makes them: nothing is trained, the labelled rows are only shown."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cuetune.backbones.text import TextBackbone
from cuetune.data.row import Example
from cuetune.data.task import Task
from cuetune.errors import CuetuneError
from cuetune.library.tuned import TunedPrompt
from cuetune.methods.calibration import calibrate
from cuetune.prompts.base import Prompt
from cuetune.prompts.hard import HardPrompt
from cuetune.prompts.nearest import nearest_prompt
from cuetune.prompts.words import choose, hard_prompt

WORDINGS = ("hard", "calibrated", "nearest")
OPTIONS = {"nearest": ("encoder",)}


def prompt_in_words(
    backbone: TextBackbone,
    task: Task,
    rows: Sequence[Example],
    method: str,
    shots: int = 8,
    *,
    start: str | Path | None = None,
    options: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> Prompt:
    """The finished prompt: "hard" (instruction and `shots` balanced demonstrations), "calibrated" or "nearest".

    rows: labelled, to take demonstrations from. start: folder of a saved prompt of any kind, for "calibrated" to
    calibrate instead of a hard one. options: encoder, for "nearest". Raises CuetuneError for any other option.
    """
    known = OPTIONS.get(method, ())
    for name in options or {}:
        if name not in known:
            raise CuetuneError(f"prompt {method!r} has no option {name!r} (its options: {', '.join(known) or 'none'}).")
    if start is not None and method != "calibrated":
        raise CuetuneError(f"a {method} prompt is made of words and starts from no other; leave --start out.")
    if method == "nearest":
        return nearest_prompt(backbone, task, rows, min(shots, len(rows)), seed=seed, **(options or {}))
    prompt = _saved(start, backbone) if start is not None else few_shot(backbone, task, rows, shots, seed)
    return calibrate(backbone, task, prompt) if method == "calibrated" else prompt


def few_shot(backbone: TextBackbone, task: Task, rows: Sequence[Example], shots: int, seed: int) -> HardPrompt:
    """Instruction and demonstrations; zero-shot with shots = 0."""
    prompt = hard_prompt(backbone, task, choose(rows, min(shots, len(rows)), seed=seed) if shots > 0 else [])
    if not prompt.ids:
        raise CuetuneError("a hard prompt needs words: give an --instruction or --shots.")
    return prompt


def _saved(folder: str | Path, backbone: TextBackbone) -> Prompt:
    """The prompt of a folder, to be calibrated. Raises CuetuneError for another model's, or for a trained head."""
    saved = TunedPrompt.load(folder)
    saved.backbone.check(backbone.identity, str(folder))
    if saved.head is not None:
        raise CuetuneError(f"{folder}: a trained head answers it, and calibration is for label words.")
    return saved.prompt
