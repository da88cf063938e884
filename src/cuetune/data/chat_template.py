"""Chat models: a row as a message of the user, in the model's own chat template."""

from pathlib import Path
from typing import Any

from cuetune.data.task import FIELD, Chat
from cuetune.errors import CuetuneError

NAME = "chat"  # of the template, as a user writes it: "chat", or "chat: TEXT" with the user's message
ANSWER = "\ue002answer\ue002"  # private characters, which no template touches


def is_chat(template: str | None) -> bool:
    """Whether a template asks for the model's own chat template."""
    return template is not None and template.partition(":")[0].strip() == NAME


def message_of(template: str) -> str | None:
    """What the user's message says in "chat: TEXT"; None where only the chat template is asked for."""
    return template.partition(":")[2].strip(" ") or None


def chat_template(tokenizer: Any, message: str, system: str) -> tuple[str, Chat]:
    """The tokenizer's chat template as a task's template, up to where the model's answer begins.

    message: the user's, with fields in braces. system: the system's, or "" for none. A template without a system role
    gets it before the message. Raises CuetuneError where the tokenizer has no chat template, or one that fails.
    """
    if tokenizer is None:
        raise CuetuneError("--template chat is that of a model; name the model with --model.")
    name = Path(str(getattr(tokenizer, "name_or_path", "") or "the model")).name
    if not getattr(tokenizer, "chat_template", None):
        raise CuetuneError(
            f"--template chat: the tokenizer of {name} has no chat template; write the template out instead."
        )
    if FIELD.search(system):
        raise CuetuneError(f"--template chat: the instruction {system!r} names a column; the message may, it may not.")
    marked = FIELD.sub(lambda field: f"\ue000{field[1]}\ue001", message)
    messages = _accepted(tokenizer, name, marked, system)
    asked = _rendered(tokenizer, messages, add_generation_prompt=True)
    before, end = _around_answer(tokenizer, messages)
    # What the template writes before an answer: it may think first, or leave out a thought that it asks for.
    text = before if before and (before.startswith(asked) or asked.startswith(before)) else asked
    if (braces := FIELD.search(text)) is not None:
        raise CuetuneError(f"--template chat: the chat template of {name} holds {braces[0]}, as of a column.")
    template = text.rstrip(" ")
    for field in FIELD.findall(message):
        template = template.replace(f"\ue000{field}\ue001", f"{{{field}}}")
    return template, Chat(text[len(text.rstrip(" ")) :], end)


def _accepted(tokenizer: Any, name: str, message: str, system: str) -> list[dict[str, str]]:
    """The messages in the roles that the template takes."""
    user = {"role": "user", "content": message}
    if system:
        apart = [{"role": "system", "content": system}, user]
        try:
            if system in _rendered(tokenizer, apart):
                return apart
        except Exception:  # templates refuse a role with errors of their own
            pass
        user = {"role": "user", "content": f"{system}\n\n{message}"}
    try:
        _rendered(tokenizer, [user])
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise CuetuneError(f"--template chat: the chat template of {name} cannot be used ({reason}).") from error
    return [user]


def _around_answer(tokenizer: Any, messages: list[dict[str, str]]) -> tuple[str, str]:
    """What the template writes before and behind an answer; nothing where it writes none."""
    try:
        whole = _rendered(tokenizer, [*messages, {"role": "assistant", "content": ANSWER}])
    except Exception:  # as above
        return "", ""
    before, _, end = whole.rpartition(ANSWER)
    return (before, end) if before else ("", "")


def _rendered(tokenizer: Any, messages: list[dict[str, str]], **how: Any) -> str:
    return str(tokenizer.apply_chat_template(messages, tokenize=False, **how))
