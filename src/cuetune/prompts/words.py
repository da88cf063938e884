"""Hard prompts in words: the instruction and k solved examples, chosen at random or balanced over the labels."""

import random
from collections import defaultdict
from collections.abc import Sequence

import torch

from cuetune.backbones.text import TextBackbone
from cuetune.errors import CuetuneError
from cuetune.prompts.hard import HardPrompt
from cuetune.tasks.rendering import Renderer, encode
from cuetune.tasks.task import Example, Task

BETWEEN = "\n\n"  # stands between instruction, demonstrations and the row itself


def hard_prompt(backbone: TextBackbone, task: Task, demonstrations: Sequence[Example] = ()) -> HardPrompt:
    """The task's instruction and the demonstrations as one prompt, ending where the row's own text begins.

    Zero-shot without demonstrations, few-shot (in-context learning) with them; both are scored by the same code.
    """
    ids: list[int] = []
    between = encode(backbone.tokenizer, [BETWEEN], control_tokens=True)[0]
    if task.instruction:
        ids += encode(backbone.tokenizer, [task.instruction], control_tokens=True)[0] + between
    for shown in demonstrations:
        ids += demonstration(backbone, task, shown) + between
    if len(ids) > backbone.max_positions // 2:
        raise CuetuneError(
            f"instruction and {len(demonstrations)} demonstrations take {len(ids)} of the model's "
            f"{backbone.max_positions} positions; take fewer or shorter ones."
        )
    with torch.no_grad():
        return HardPrompt(ids, backbone.embed(torch.tensor(ids, dtype=torch.long, device=backbone.device)))


def demonstration(backbone: TextBackbone, task: Task, example: Example) -> list[int]:
    """One solved example as tokens: the template filled in, and its answer."""
    renderer = Renderer(backbone.tokenizer, task)
    (rendered,) = renderer.render([example])
    words = dict(zip(task.labels, task.label_words, strict=True))
    answer = words.get(str(example.label), " " + str(example.label).strip())
    return renderer.template_start + rendered.ids + encode(backbone.tokenizer, [answer], control_tokens=False)[0]


def choose(examples: Sequence[Example], k: int, *, how: str = "balanced", seed: int = 0) -> list[Example]:
    """k demonstrations: "random", or "balanced" with as equal a number of each label as k allows, in random order."""
    if k > len(examples):
        raise CuetuneError(f"{k} demonstrations asked for, but there are only {len(examples)} labelled rows.")
    shuffled = random.Random(seed).sample(list(examples), len(examples))
    if how == "random":
        return shuffled[:k]
    if how != "balanced":
        raise CuetuneError(f"unknown choice of demonstrations {how!r}; choose 'random' or 'balanced'.")
    by_label: dict[str | None, list[Example]] = defaultdict(list)
    for example in shuffled:
        by_label[example.label].append(example)
    picked: list[Example] = []
    while len(picked) < k:
        picked += [rows.pop() for rows in by_label.values() if rows]
    return random.Random(seed).sample(picked[:k], k)
