"""What comes back from a chat endpoint, read for what is of use: the text, the tokens it bills, why it refuses.

An answer that was paid for is taken whatever else its reply holds: usage that is no count of tokens counts as none,
and half characters are replaced.
"""

import json
import math
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError, WrapValidator

from cuetune.methods.calls import Reply, Tokens, whole
from cuetune.methods.redaction import redacted

LONGEST_TEXT = 200_000  # characters; no reply to a question of ours needs as many
SHOWN = 200  # characters of an endpoint's own words


class NoCompletionError(Exception):
    """The body is no chat completion."""


def _or_nothing(value: Any, read: Callable[[Any], "Usage"]) -> "Usage":
    try:
        return read(value)
    except ValidationError:
        return Usage()


class Usage(BaseModel):
    """Tokens that are billed; 0 where the endpoint says nothing of use."""

    prompt_tokens: Tokens = 0
    completion_tokens: Tokens = 0


class Message(BaseModel):
    content: Any


class Choice(BaseModel):
    message: Message


class Completion(BaseModel):
    choices: Annotated[list[Any], Field(min_length=1)]
    usage: Annotated[Usage, WrapValidator(_or_nothing)] = Usage()


def read_completion(body: bytes) -> Reply:
    """The first choice's text and the tokens of the whole. Raises NoCompletionError for anything else."""
    try:
        completion = Completion.model_validate(_parsed(body))
        content = Choice.model_validate(completion.choices[0]).message.content
    except ValueError:
        raise NoCompletionError from None
    text = redacted(whole(_text(content)))[:LONGEST_TEXT]
    return Reply(text, completion.usage.prompt_tokens, completion.usage.completion_tokens)


def refusal(body: bytes) -> str:
    """The endpoint's own words for what is wrong, on one line, short, without the key; "" where it has none."""
    try:
        read = _parsed(body)
    except ValueError:
        read = {"error": body.decode("utf-8", errors="replace")}
    if not isinstance(read, dict):
        return ""
    error = read.get("error") or read
    text = error.get("message") or error.get("detail") or "" if isinstance(error, dict) else error
    return redacted(" ".join(whole(str(text)[:LONGEST_TEXT]).split()))[:SHOWN]


def retry_after(value: str | None) -> float | None:
    """Seconds to wait by a Retry-After header, which holds seconds or a date; None where it says nothing of use."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        seconds = _seconds_until(value)
    return seconds if seconds > 0 else None  # also false for "nan"


def _seconds_until(date: str) -> float:
    try:
        return parsedate_to_datetime(date).timestamp() - time.time()
    except (ValueError, TypeError, OverflowError, OSError, IndexError):
        return 0.0


def _text(content: Any) -> str:
    """Content as text: itself, or the texts of its parts; none where the model gave none."""
    if isinstance(content, list):
        return "".join(str(part.get("text") or "") for part in content if isinstance(part, dict))
    return str(content or "")


def _parsed(body: bytes) -> Any:
    """The JSON of a body in any encoding that JSON comes in. Raises ValueError, for what is nested too deep as well."""
    try:
        return json.loads(body.decode(json.detect_encoding(body), errors="replace"), parse_int=_number)
    except RecursionError as error:
        raise ValueError("nested too deep") from error


def _number(digits: str) -> float:
    return int(digits) if len(digits) < 20 else math.inf  # Python refuses thousands of digits
