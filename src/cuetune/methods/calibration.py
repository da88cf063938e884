"""Contextual calibration (Zhao et al., ICML 2021, section 5): measured once per prompt, without data or training."""

from collections.abc import Sequence

import torch

from cuetune.answers import refuse
from cuetune.backbones.text import TextBackbone
from cuetune.data.row import Example
from cuetune.data.task import Task
from cuetune.data.templating import Renderer
from cuetune.errors import CuetuneError
from cuetune.prediction.text import Predictor
from cuetune.prompts.base import Prompt
from cuetune.prompts.calibrated import SMALLEST, CalibratedPrompt

CONTENT_FREE = ("N/A", "[MASK]", "")  # the paper's


def calibrate(
    backbone: TextBackbone, task: Task, prompt: Prompt, inputs: Sequence[str] = CONTENT_FREE
) -> CalibratedPrompt:
    """The same prompt with what it answers to `inputs` divided out: p_cf is the mean of its probabilities for them.

    prompt: any kind, hard or tuned. inputs: stand in every field of the template, as plain characters. One that leaves
    nothing to read ("" where the template is the text alone) is passed over. Raises CuetuneError for tasks that write.
    """
    refuse(task, "calibration")
    if task.generates:
        raise CuetuneError(
            "calibration needs a fixed set of labels, and this task's answers are written; name --labels."
        )
    rows = [Example(f"content-free input {text!r}", dict.fromkeys(task.fields, text), None) for text in inputs]
    renderer = Renderer(backbone.tokenizer, task)
    rows = [row for row in rows if _leaves_something(renderer, row)]
    if not rows:
        raise CuetuneError("no content-free input has a token for this model; give calibrate() others.")
    answers = [prediction.probabilities for prediction in Predictor(backbone, task, prompt).predict(rows)]
    return CalibratedPrompt(prompt, torch.tensor(answers).mean(0).clamp(min=SMALLEST))


def _leaves_something(renderer: Renderer, row: Example) -> bool:
    """Whether a row has a token behind what all rows share."""
    try:
        return bool(list(renderer.render([row])))
    except CuetuneError:
        return False
