"""Where a head begins. A trained one: as a linear probe on what it reads while the prompt is at its start (Kumar et al.
2022, "Fine-tuning can distort pretrained features": LP-FT), so that a prompt improves on a probe instead of catching up
with it. One of the model's own classes: mapped to them, before the first step and after every pass over the data.
"""

import math

import torch
from torch import Tensor

from cuetune.errors import CuetuneError
from cuetune.prediction.probe import probe_on
from cuetune.prompts.base import Prompt
from cuetune.tuning.runs import Run
from cuetune.tuning.settings import Settings

AT_ONCE = 32  # rows in one pass


def begin(run: Run, prompt: Prompt, start: str) -> None:
    """Let a run's head begin: `start` is that of a trained one, "probe" or "random"."""
    if remaps(run):
        remap(run, prompt)
    elif run.head is not None and start == "probe":
        begin_as_probe(run, prompt)


def remaps(run: Run) -> bool:
    """Whether the run's head is not trained, but made of the model's own classes again and again."""
    return run.head is not None and bool(run.head.remaps)


def per_pass(run: Run, settings: Settings) -> int:
    """Steps in a pass over the run's rows."""
    return math.ceil(len(run.rows) / settings.batch_size)


def remap(run: Run, prompt: Prompt) -> None:
    """Let the model's classes stand for labels anew, by what it says of the run's rows under the prompt as it is."""
    assert run.head is not None
    run.head.remap(states_of_all(run, prompt), [row.label for row in run.rows])


def begin_as_probe(run: Run, prompt: Prompt) -> None:
    """Set the head of a run to the probe on its rows' states under this prompt; one pass over the rows.

    A head stays as it is where all rows are of one label.
    """
    try:
        probe = probe_on(run.task, {"states": states_of_all(run, prompt).numpy()}, run.rows)
    except CuetuneError:
        return
    weight, bias = probe.linear(run.task.labels)
    assert run.head is not None
    with torch.no_grad():
        run.head.weight.copy_(weight)
        run.head.bias.copy_(bias)


@torch.no_grad()
def states_of_all(run: Run, prompt: Prompt) -> Tensor:
    """(N, d) float32 on the CPU: what the run's head reads of all its rows."""
    numbers = range(len(run.rows))
    parts = (run.states_of(prompt, numbers[first : first + AT_ONCE]) for first in numbers[::AT_ONCE])
    return torch.cat([part.float().cpu() for part in parts])
