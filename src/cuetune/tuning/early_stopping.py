"""Which step of a run is its best, and how long there was none better."""

from cuetune.tuning.checkpoint import Progress


def count(progress: Progress, scores: dict[str, float]) -> bool:
    """Note the scores of a validation; returns whether they are the best so far.

    A run waits for better scores than all so far, or for a lower loss than at any step of its training. Step 0 does not
    count for the loss: a head that begins as a probe begins low, and the first steps lead up from there before the rate
    falls and they lead below.
    """
    best = not progress.best_scores or rank(scores) > rank(progress.best_scores)
    if best:
        progress.best_step, progress.best_scores = progress.step, scores
    lower = _falls(progress, scores)
    progress.waited = 0 if best or lower else progress.waited + 1
    return best


def _falls(progress: Progress, scores: dict[str, float]) -> bool:
    """Whether the loss is the lowest that training came to."""
    loss = scores.get("loss")
    if loss is None or not progress.step:
        return False
    falls = progress.lowest_loss is None or loss < progress.lowest_loss
    if falls:
        progress.lowest_loss = loss
    return falls


def rank(scores: dict[str, float]) -> tuple[float, ...]:
    """Scores as something to compare: accuracy first, then the lower loss."""
    return (scores.get("step", 0.0), scores.get("accuracy", 0.0), -scores.get("loss", 0.0))
