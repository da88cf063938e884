"""How many floating-point operations a run takes, counted by PyTorch on a few rows and multiplied."""

from collections.abc import Callable, Sequence

from torch.utils.flop_counter import FlopCounterMode

from cuetune.prompts.base import Prompt
from cuetune.tuning.task_run import Run

FEW = 16  # rows that are counted for all


def counted(work: Callable[[], object]) -> float:
    """The operations of what is done here."""
    with FlopCounterMode(display=False) as counter:
        work()
    return float(counter.get_total_flops())


def once_per_run(runs: Sequence[Run], prompt: Prompt, probed: bool) -> float:
    """What is not done at every step: states below a late prompt, and the pass that heads begin from as probes."""
    frozen = sum(run.frozen_flops() for run in runs)
    return frozen + sum(
        _pass_over(run, prompt.of_task(number)) for number, run in enumerate(runs) if probed and run.head is not None
    )


def _pass_over(run: Run, prompt: Prompt) -> float:
    """All rows of a run under its prompt."""
    some = range(min(FEW, len(run.rows)))
    return counted(lambda: run.states_of(prompt, some)) * len(run.rows) / len(some)
