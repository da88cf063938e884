"""Rows that hold a conversation, or an instruction with its input: what stands before the answer as one text."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from cuetune.data.formats.cells import is_missing
from cuetune.data.row import Row

COLUMNS = ("messages", "conversations", "conversation")
TEXT, ANSWER = "prompt", "completion"  # the columns that a row gets
ANSWERING = ("assistant", "gpt", "bot", "model")
INSTRUCTION, INPUT, OUTPUT = "instruction", "input", "output"  # Alpaca's columns
NAMES = {"human": "user", **dict.fromkeys(ANSWERING, "assistant")}
Turn = tuple[str, str]  # role, text


def unrolled(row: Row) -> Row:
    """A row with the columns "prompt" and, where the assistant speaks last, "completion"; others as they are.

    A conversation is a list of {"role": …, "content": …} (also "from" and "value") in a column called messages or
    conversations, or in the columns prompt and completion themselves. Of Alpaca's rows the text is the instruction
    with its input.
    """
    values = row.values
    if (prompt := _instructed(values)) is not None:
        return replace(row, values={**values, TEXT: prompt})
    found = next((values[name] for name in COLUMNS if name in values), None)
    if found is None and isinstance(values.get(TEXT), list):
        found = [*values[TEXT], *(answer if isinstance(answer := values.get(ANSWER), list) else ())]
    elif TEXT in values or "text" in values:
        return row
    turns = _turns(found)
    if not turns:
        return row
    answered = turns[-1][0] == "assistant"
    added = {TEXT: _said(turns[:-1] if answered else turns), **({ANSWER: turns[-1][1]} if answered else {})}
    return replace(row, values={**values, **added})


def _instructed(values: Mapping[str, Any]) -> str | None:
    """Instruction and input as one text, the instruction alone where no input stands; None of other rows."""
    instruction, given = values.get(INSTRUCTION), values.get(INPUT)
    is_alpaca = isinstance(instruction, str) and (INPUT in values or OUTPUT in values)
    if not is_alpaca or TEXT in values or "text" in values:
        return None
    if is_missing(given):
        return instruction
    if not isinstance(given, str):
        return None
    return f"{instruction}\n\n{given}" if given.strip() else instruction


def _turns(found: Any) -> list[Turn]:
    """Role and text of each turn; none of what is no conversation in words."""
    turns = [_turn(each) for each in found] if isinstance(found, Sequence) and not isinstance(found, str) else []
    return [turn for turn in turns if turn] if all(turns) else []


def _turn(turn: Any) -> Turn | None:
    if not isinstance(turn, Mapping):
        return None
    role, content = turn.get("role", turn.get("from")), turn.get("content", turn.get("value"))
    if isinstance(content, list):  # parts, of which texts can be read
        texts = [part.get("text") if isinstance(part, Mapping) else None for part in content]
        content = "\n".join(map(str, texts)) if all(text is not None for text in texts) else None
    return (NAMES.get(role, role), content) if isinstance(role, str) and isinstance(content, str) else None


def _said(turns: Sequence[Turn]) -> str:
    """Turns as one text; who speaks is named where more than one does."""
    system = [text for role, text in turns if role == "system"]
    others = [turn for turn in turns if turn[0] != "system"]
    if len(others) == 1:
        return "\n\n".join([*system, others[0][1]])
    return "\n\n".join([*system, "\n".join(f"{role.capitalize()}: {text}" for role, text in others)])
