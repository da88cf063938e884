"""Hard prompts in words: the instruction and k solved examples, chosen at random or balanced over the labels."""

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from cuetune.backbones.text import TextBackbone
from cuetune.data.row import Example
from cuetune.data.task import FIELD, Task
from cuetune.data.templating import Renderer, answer_ids, encode
from cuetune.errors import CuetuneError
from cuetune.prompts.hard import HardPrompt

BETWEEN = "\n\n"  # stands between instruction, demonstrations and the row itself


def hard_prompt(backbone: TextBackbone, task: Task, demonstrations: Sequence[Example] = ()) -> HardPrompt:
    """The task's instruction and the demonstrations as one prompt, ending where the row's own text begins.

    Zero-shot without demonstrations, few-shot (in-context learning) with them; both are scored by the same code.
    """
    ids = opening(backbone, task)
    for tokens in solved(backbone, task, demonstrations):
        ids += tokens
    if len(ids) > backbone.max_positions // 2:
        raise CuetuneError(
            f"instruction and {len(demonstrations)} demonstrations take {len(ids)} of the model's "
            f"{backbone.max_positions} positions; take fewer or shorter ones."
        )
    return HardPrompt(ids, embedded(backbone, ids))


def opening(backbone: TextBackbone, task: Task) -> list[int]:
    """The instruction's tokens and what stands behind them; none where there is none, or a chat template says it."""
    if not task.instruction or task.chat:
        return []
    (said,) = encode(backbone.tokenizer, [task.instruction], control_tokens=True, begins=True)
    return said + encode(backbone.tokenizer, [BETWEEN], control_tokens=True)[0]


def solved(backbone: TextBackbone, task: Task, examples: Sequence[Example]) -> list[list[int]]:
    """Each example as a demonstration: the template filled in, its answer, and what stands behind it.

    The answer stands behind the template, or where the template has an encoder's mask.
    """
    renderer = Renderer(backbone.tokenizer, task, begins=False)
    words = dict(zip(task.labels, task.label_words, strict=True))
    said = [words.get(str(example.label), task.answer(str(example.label))) for example in examples]
    answers = answer_ids(backbone.tokenizer, task, said, control_tokens=False)
    between = encode(backbone.tokenizer, [task.chat.end if task.chat else BETWEEN], control_tokens=True)[0]
    mask = getattr(backbone.tokenizer, "mask_token_id", None)
    made = []
    for row, answer in zip(renderer.render(examples), answers, strict=True):
        shown = renderer.template_start + row.ids
        place = shown.index(mask) if mask in shown else len(shown)
        made.append(shown[:place] + answer + shown[place + 1 :] + between)
    return made


def embedded(backbone: TextBackbone, ids: Sequence[int]) -> Tensor:
    """(P, d) rows of the backbone's embedding table."""
    with torch.no_grad():
        return backbone.embed(torch.tensor(ids, dtype=torch.long, device=backbone.device))


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


def instructed(task: Task) -> Task:
    """The task with its instruction as the beginning of the template, where a template can hold it."""
    if not task.instruction or task.chat or FIELD.search(task.instruction):
        return task
    return replace(task, template=f"{task.instruction}{BETWEEN}{task.template}")
