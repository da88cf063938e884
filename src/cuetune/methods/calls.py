"""Calls that cost money: what they may cost at most is said before the first, and no answer is paid for twice."""

import json
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, ValidationError, WrapValidator

from cuetune.errors import CuetuneError
from cuetune.methods.redaction import redacted
from cuetune.support import console
from cuetune.support.files import disk_error
from cuetune.support.strict_json import Limits, parse_json, read_limited
from cuetune.tuning.run_folder import CALLS, RUN

NAME = CALLS
LARGEST = 2**30  # bytes of a log
LINE = Limits(nan=True, halves=True)
MOST_TOKENS = 10**8  # of one call; whatever bills more has miscounted


class BudgetSpentError(CuetuneError):
    """No call is left. A search ends with what it has found."""


def whole(text: str) -> str:
    """The same text with "?" for half characters, which no file and no tokenizer takes."""
    return text.encode("utf-8", errors="replace").decode()


def _or_none(value: Any, read: Callable[[Any], int]) -> int:
    try:
        return read(value)
    except ValidationError:
        return 0


# A count of tokens; whatever is none counts as 0: no bill is lowered by a negative one.
Tokens = Annotated[int, Field(ge=0, le=MOST_TOKENS), WrapValidator(_or_none)]


class Event(BaseModel):
    """A line of the log: an attempt, or what came of one."""

    event: Literal["sent", "failed", "reply"]
    request: str
    text: str = ""
    tokens_in: Tokens = 0
    tokens_out: Tokens = 0


@dataclass(frozen=True)
class Reply:
    """One answer of an endpoint, and the tokens it was billed for (0 where the endpoint does not say)."""

    text: str
    tokens_in: int = 0
    tokens_out: int = 0


@dataclass(frozen=True)
class Prices:
    """Dollars per million tokens, read and written; None where the user did not say."""

    tokens_in: float | None = None
    tokens_out: float | None = None

    def dollars(self, tokens_in: int, tokens_out: int) -> float | None:
        if self.tokens_in is None or self.tokens_out is None:
            return None
        return (tokens_in * self.tokens_in + tokens_out * self.tokens_out) / 1e6


@dataclass(frozen=True)
class Estimate:
    """What a search will ask of an endpoint at most, retries left out."""

    calls: int
    tokens_in: int
    tokens_out: int

    def said(self, prices: Prices) -> str:
        """As a line for a person."""
        dollars = prices.dollars(self.tokens_in, self.tokens_out)
        cost = "dollars unknown without prices" if dollars is None else f"${dollars:.4f}"
        return f"{self.calls} calls, about {self.tokens_in:,} tokens in, {self.tokens_out:,} out at most, {cost}"


class CallLog:
    """What was asked and what came back, one JSON line for each event, in a file that a later run reads again.

    Events: "sent" before every attempt, so that a killed run has counted it; then "reply" or "failed". Requests are
    known by a hash; neither they nor the key are written. Without a folder nothing is kept.
    """

    def __init__(self, folder: Path | None) -> None:
        self.path = None if folder is None else folder / NAME
        self.sent, self.failed = 0, 0
        self._replies: dict[str, Reply] = {}
        for event in self._read():
            self._count(event)

    @property
    def tokens_in(self) -> int:
        return sum(reply.tokens_in for reply in self._replies.values())

    @property
    def tokens_out(self) -> int:
        return sum(reply.tokens_out for reply in self._replies.values())

    def __len__(self) -> int:
        return len(self._replies)

    def find(self, request: str) -> Reply | None:
        """The reply that was paid for before, if any."""
        return self._replies.get(request)

    def write(self, event: str, request: str, **values: Any) -> None:
        """Add one event. Raises CuetuneError when the disk refuses."""
        line = redacted({"event": event, "request": request, **values})
        if self.path is not None:
            _append(self.path, json.dumps(line) + "\n")
        self._count(Event(**line))

    def _count(self, event: Event) -> None:
        self.sent += event.event == "sent"
        self.failed += event.event == "failed"
        if event.event == "reply":
            self._replies[event.request] = Reply(whole(event.text), event.tokens_in, event.tokens_out)

    def _read(self) -> list[Event]:
        """Whole events of earlier runs; a line that a kill cut off is closed, so that the next one stands alone."""
        if self.path is None or not os.path.lexists(self.path):
            return []
        text = read_limited(self.path, LARGEST, "move it away").decode(errors="replace")
        if text and not text.endswith("\n"):
            _append(self.path, "\n")
        events = []
        for line in text.split("\n"):
            with suppress(CuetuneError, ValueError):  # the cut-off line; its attempt was counted by the line before
                events.append(Event.model_validate(parse_json(line, str(self.path), LINE)))
        return events


def _append(path: Path, text: str) -> None:
    try:
        RUN.claim(path.parent)
        with path.open("a", encoding="utf-8") as stream:
            stream.write(text)
    except OSError as error:
        raise disk_error(path, error) from error


def allowed_calls(estimate: Estimate, budget: int | None, prices: Prices, log: Callable[[str], Any]) -> int:
    """The calls that may be made, retries included: the budget, or what the user agrees to when asked.

    The estimate is printed. Raises CuetuneError when it is above the budget, or there is none, and nobody can be asked
    or the answer is no; nothing has been spent then.
    """
    limit = f"budget {budget} calls, retries included" if budget is not None else "no budget given"
    log(f"endpoint: {estimate.said(prices)}; {limit}")
    if budget is not None and estimate.calls <= budget:
        return budget
    wanted = estimate.calls + max(2, estimate.calls // 4)  # room for retries
    if sys.stdin is None or not sys.stdin.isatty():
        found = "no budget was given" if budget is None else f"the budget is {budget}"
        raise CuetuneError(
            f"the search may take {estimate.calls} calls to the endpoint and {found}; nothing was sent. Allow it with "
            f"budget={wanted} (room for retries), or make the search smaller."
        )
    most = wanted if budget is None else budget
    if console.ask(f"spend up to {most} calls? [y/N]").lower() not in ("y", "yes"):
        raise CuetuneError("not agreed to; nothing was sent to the endpoint.")
    return most
