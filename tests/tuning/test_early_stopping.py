"""When a run is waited for: better scores than all so far, or a lower loss than training came to."""

from cuetune.tuning.checkpoint import Progress
from cuetune.tuning.early_stopping import count


def waits(*validations):
    """How long was waited after each validation (step, accuracy, loss)."""
    progress, waited = Progress(), []
    for step, accuracy, loss in validations:
        progress.step = step
        count(progress, {"accuracy": accuracy, "loss": loss})
        waited.append(progress.waited)
    return waited, progress


def test_a_run_that_comes_down_from_where_a_probe_threw_it_is_not_stopped():
    curve = [(0, 0.68, 0.95), (30, 0.48, 2.63), (60, 0.55, 1.94), (90, 0.61, 1.63), (120, 0.6, 1.43)]
    waited, progress = waits(*curve)
    assert waited == [0, 0, 0, 0, 0]
    assert (progress.best_step, progress.best_scores["accuracy"]) == (0, 0.68)  # what is kept is still the best


def test_a_run_that_only_gets_worse_is_stopped():
    waited, _ = waits((0, 0.7, 0.9), (10, 0.6, 1.0), (20, 0.6, 1.1), (30, 0.6, 1.2), (40, 0.6, 1.05))
    assert waited == [0, 0, 1, 2, 3]


def test_higher_accuracy_counts_whatever_the_loss():
    waited, progress = waits((10, 0.6, 1.0), (20, 0.6, 1.1), (30, 0.7, 1.2), (40, 0.7, 1.2))
    assert waited == [0, 1, 0, 1]
    assert progress.best_step == 30


def test_without_validation_rows_the_last_step_is_the_best():
    progress = Progress()
    for step in (1, 2):
        progress.step = step
        assert count(progress, {"step": float(step)})
    assert progress.waited == 0
    assert progress.lowest_loss is None
