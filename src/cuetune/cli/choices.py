"""Names that help texts list, read from the tables where the things themselves are, when a help text is shown."""

import re
from collections.abc import Callable

from cuetune.modality import MODALITIES


def prompts() -> str:
    """Kinds of prompts by modality, then those that only have words."""
    from cuetune.methods.wording import WORDINGS
    from cuetune.prompts.registry import METHODS

    trained = "; ".join(f"{name}: {', '.join(METHODS[name])}" for name in MODALITIES)
    return f"{trained}. Text without training: {', '.join(WORDINGS)}. Also: soft-from-hard, multitask"


def usual_prompts() -> str:
    """The default kind of prompt of each modality."""
    return ", ".join(f"{modality.prompt} ({name})" for name, modality in MODALITIES.items())


def contenders() -> str:
    """Methods that `compare` knows, by modality."""
    from cuetune.comparison.contenders import CONTENDERS

    return "; ".join(f"{name}: {', '.join(contenders)}" for name, contenders in CONTENDERS.items())


def learners() -> str:
    """Methods that learn a stream of tasks."""
    from cuetune.methods.continual.registry import LEARNERS

    return ", ".join(sorted(LEARNERS))


def searches() -> str:
    """Methods that search for the words of a hard prompt."""
    from cuetune.methods.searching import SEARCHES

    return ", ".join(SEARCHES)


def models() -> str:
    """The default model of each modality."""
    return ", ".join(f"{modality.model} ({name})" for name, modality in MODALITIES.items())


def mixings() -> str:
    """How likely the tasks of a universal prompt are."""
    from cuetune.methods.multitask.sampling import MIXINGS

    return ", ".join(MIXINGS)


def rankings() -> str:
    """How the prompts of a library are ranked for a new task."""
    from cuetune.methods.transfer.ranking import RANKINGS

    return ", ".join(RANKINGS)


def gpus() -> str:
    """GPUs with a known price."""
    from cuetune.cost.prices import Prices

    return ", ".join(Prices().gpus)


def costed() -> str:
    """Methods that the planner knows."""
    from cuetune.cost.planner import METHODS

    return ", ".join(METHODS)


LISTS: dict[str, Callable[[], str]] = {
    each.__name__: each
    for each in (prompts, usual_prompts, contenders, learners, searches, models, mixings, rankings, gpus, costed)
}
NAMED = re.compile(r"\{(" + "|".join(LISTS) + r")\}")


def filled(help: str) -> str:
    """A help text with the names that it lists, as in "One of {searches}."."""
    return NAMED.sub(lambda match: LISTS[match[1]](), help)
