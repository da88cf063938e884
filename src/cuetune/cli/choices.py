"""Names that help texts list, read from the tables where the things themselves are, when a help text is shown."""

import re
from collections.abc import Callable

from cuetune.modality import MODALITIES

# The registries import torch, which takes seconds; a test holds these lists against them.
PROMPTS = {
    "image": ("vpt", "vpt-shallow", "prefix", "frame", "patch"),
    "audio": ("deep", "shallow", "prefix", "wave", "decoder", "decoder-prefix"),
    "video": ("temporal", "vpt", "vpt-shallow", "prefix", "frame", "patch"),
    "text": (
        "soft", "prefix", "prefix-mlp", "p-tuning-v2", "p-tuning", "residual", "decomposed", "ultra-low", "dept",
        "late",
    ),
}  # fmt: skip
WORDINGS = ("hard", "calibrated", "nearest")
IN_WORDS = ("zero-shot", "few-shot", "calibrated", "nearest")
LEARNERS = ("coda", "dual", "ft", "ft++", "l2p", "l2p++", "ranpac", "simple-cil", "task-prompts")
SEARCHES = ("greedy", "pez", "ape", "opro")
MIXINGS = ("uniform", "proportional", "capped", "stratified")
RANKINGS = ("loss", "similarity")


def compared(modality: str) -> tuple[str, ...]:
    """Methods that `compare` knows for a modality."""
    if modality == "text":
        return *IN_WORDS, "linear-probe", *PROMPTS["text"], "lora", "fine-tuning"
    return "linear-probe", *PROMPTS[modality], "fine-tuning"


def prompts() -> str:
    """Kinds of prompts by modality, then those that only have words."""
    trained = "; ".join(f"{name}: {', '.join(each)}" for name, each in PROMPTS.items())
    return f"{trained}. Text without training: {', '.join(WORDINGS)}. Also: soft-from-hard, multitask"


def usual_prompts() -> str:
    """The default kind of prompt of each modality."""
    return ", ".join(f"{modality.prompt} ({name})" for name, modality in MODALITIES.items())


def contenders() -> str:
    """Methods that `compare` knows, by modality."""
    return "; ".join(f"{name}: {', '.join(compared(name))}" for name in PROMPTS)


def learners() -> str:
    """Methods that learn a stream of tasks."""
    return ", ".join(LEARNERS)


def searches() -> str:
    """Methods that search for the words of a hard prompt."""
    return ", ".join(SEARCHES)


def models() -> str:
    """The default model of each modality."""
    return ", ".join(f"{modality.model} ({name})" for name, modality in MODALITIES.items())


def mixings() -> str:
    """How likely the tasks of a universal prompt are."""
    return ", ".join(MIXINGS)


def rankings() -> str:
    """How the prompts of a library are ranked for a new task."""
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
