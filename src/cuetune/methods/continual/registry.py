"""The methods that learn streams of tasks, by name."""

from cuetune.backbones.seeing import SeeingBackbone
from cuetune.backbones.text import TextBackbone
from cuetune.errors import CuetuneError
from cuetune.methods.continual import floors, pools, weights  # noqa: F401 - makes their methods known
from cuetune.methods.continual.learner import Learner
from cuetune.tuning.settings import Settings

LEARNERS: dict[str, type[Learner]] = Learner.learners


def new_learner(
    name: str, backbone: SeeingBackbone | TextBackbone, settings: Settings | None = None, seed: int = 0
) -> Learner:
    """A new learner by the method's name. Raises CuetuneError for an unknown name or option."""
    if name not in LEARNERS:
        raise CuetuneError(f"unknown method {name!r}; choose one of {', '.join(sorted(LEARNERS))}.")
    return LEARNERS[name](backbone, settings, seed)
