"""Where a trained head begins: as a linear probe on what it reads while the prompt is at its start (Kumar et al. 2022,
"Fine-tuning can distort pretrained features": LP-FT). A prompt then improves on a probe instead of catching up with it.
"""

import torch
from torch import Tensor

from cuetune.errors import CuetuneError
from cuetune.methods.probe import probe_on
from cuetune.prompts.base import Prompt
from cuetune.tuning.task_run import Run

AT_ONCE = 32  # rows in one pass


def begin_as_probe(run: Run, prompt: Prompt) -> None:
    """Set the head of a run to the probe on its rows' states under this prompt; one pass over the rows.

    A head stays as it is where all rows are of one label.
    """
    try:
        probe = probe_on(run.task, {"states": states_of_all(run, prompt).numpy()}, run.rows)
    except CuetuneError:
        return
    weight, bias = probe.linear(run.task.labels)
    with torch.no_grad():
        run.head.weight.copy_(weight)
        run.head.bias.copy_(bias)


@torch.no_grad()
def states_of_all(run: Run, prompt: Prompt) -> Tensor:
    """(N, d) float32 on the CPU: what the run's head reads of all its rows."""
    numbers = range(len(run.rows))
    parts = (run.states_of(prompt, numbers[first : first + AT_ONCE]) for first in numbers[::AT_ONCE])
    return torch.cat([part.float().cpu() for part in parts])
