"""What proposers are asked: to guess an instruction from examples, to say one in other words, to write a better one."""

from collections.abc import Sequence

from cuetune.data.row import Example
from cuetune.data.task import FIELD, Task
from cuetune.methods.proposers import Request

WORDS_SHOWN = 60  # of a text; the middle of a longer one is left out


def from_examples(task: Task, shown: Sequence[Example]) -> Request:
    """Guess the instruction that leads from these inputs to these outputs (Zhou et al. 2023, section 3.1)."""
    return Request(
        f"Somebody followed one instruction for each of these texts and gave these answers:\n\n{_solved(task, shown)}"
        f"\n\nWhich instruction was it? It says in one sentence what to do with a text.{_answers(task)}",
        'The instruction was: "',
    )


def in_other_words(text: str) -> Request:
    """A variation of an instruction that keeps its meaning (Zhou et al. 2023, section 3.3)."""
    return Request(f"This is an instruction:\n\n{text}\n\nSay the same in other words.", 'In other words: "')


def better_than(task: Task, scored: Sequence[tuple[str, float]], shown: Sequence[Example]) -> Request:
    """A better instruction than earlier ones with their scores, worst first (Yang et al. 2023, section 2).

    scored: instructions and their scores between 0 and 1; shown to a model as whole per cents.
    """
    ordered = sorted(scored, key=lambda pair: pair[1])
    past = "\n\n".join(f"instruction: {text}\nscore: {round(100 * score)}" for text, score in ordered)
    return Request(
        f"The task: {task.instruction or 'give the right answer for each text.'} These instructions were tried; a "
        f"higher score is better and 100 is the best.\n\n{past}\n\nThe instruction stands before texts such as these, "
        f"and the answer behind them:\n\n{_solved(task, shown)}\n\nWrite a new instruction in one sentence that "
        f"differs from all of these and scores higher.{_answers(task)}",
        'New instruction: "',
    )


def _solved(task: Task, shown: Sequence[Example]) -> str:
    """Examples with their answers, as the model will read them later."""
    words = dict(zip(task.labels, task.label_words, strict=True))
    texts = []
    for example in shown:
        pieces = FIELD.split(task.template)
        pieces[1::2] = [_short(example.fields[name]) for name in pieces[1::2]]
        texts.append("".join(pieces).rstrip() + words.get(str(example.label), f" {example.label}"))
    return "\n\n".join(texts)


def _answers(task: Task) -> str:
    words = [word.strip() for word in task.label_words]
    return f" The answers are {', '.join(words[:-1])} or {words[-1]}." if 1 < len(words) <= 20 else ""


def _short(text: str) -> str:
    words = text.split()
    half = WORDS_SHOWN // 2
    return " ".join(words if len(words) <= WORDS_SHOWN else [*words[:half], "…", *words[-half:]])
