"""How many floating-point operations a run takes, counted by PyTorch on a few rows and multiplied."""

from collections.abc import Sequence

from cuetune.cost.flops import count
from cuetune.prompts.base import Prompt
from cuetune.tuning.head_start import per_pass, remaps
from cuetune.tuning.runs import Run
from cuetune.tuning.settings import Settings

FEW = 16  # rows that are counted for all


def between_steps(runs: Sequence[Run], prompt: Prompt, settings: Settings, steps: int) -> float:
    """What is not done at every step: states below a late prompt, and passes for heads alone."""
    frozen = sum(run.frozen_flops() for run in runs)
    return frozen + sum(
        _passes(run, settings, steps) * _pass_over(run, prompt.of_task(number))
        for number, run in enumerate(runs)
        if run.head is not None
    )


def _passes(run: Run, settings: Settings, steps: int) -> int:
    """How often all rows went through the model for a head alone."""
    if remaps(run):
        return 1 + max(0, steps - 1) // per_pass(run, settings)
    return int(settings.head_init == "probe")


def _pass_over(run: Run, prompt: Prompt) -> float:
    """All rows of a run under its prompt."""
    some = range(min(FEW, len(run.rows)))
    return count(lambda: run.states_of(prompt, some)) * len(run.rows) / len(some)


def one_validation(runs: Sequence[Run], prompt: Prompt) -> float:
    """Scoring every run on its validation rows once."""
    return sum(_scoring(run, prompt.of_task(number)) for number, run in enumerate(runs) if run.validation)


def _scoring(run: Run, prompt: Prompt) -> float:
    whole = run.validation
    run.validation = whole[:FEW]
    try:
        return count(lambda: run.scores(prompt)) * len(whole) / len(run.validation)
    finally:
        run.validation = whole
