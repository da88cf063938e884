"""An OpenAI-compatible endpoint: one chat completion for each request, retried with patience, within a budget of calls.

The key is read from an environment variable whose name the user gives. It goes into one header and nowhere else: not
into a file, a log, an error, or another host's hands by a redirect.
"""

import hashlib
import http.client
import json
import os
import random
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from cuetune.errors import CuetuneError
from cuetune.methods.calls import BudgetSpentError, CallLog, Reply

PASSING = (408, 409, 425, 429)  # states that may pass, beside all of 500 and above
LONGEST_WAIT = 120.0  # seconds; an endpoint that asks for more is left alone
LARGEST_REPLY = 8 * 2**20  # bytes
TOKEN_LIMITS = ("max_tokens", "max_completion_tokens")  # the field's older and newer name


class EndpointError(CuetuneError):
    """The endpoint refuses, or still fails after all retries."""


class _PassingError(Exception):
    """A failure that may pass; `wait` is what the endpoint asked for, in seconds."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


@dataclass(frozen=True)
class Endpoint:
    """Where requests go, and how patiently.

    url: base URL such as "http://127.0.0.1:8000/v1". key: the NAME of an environment variable, None for no key.
    timeout: seconds for a whole reply. retries: further attempts at one request. first_wait: seconds before the first
    of them; every next one waits twice as long.
    """

    url: str
    model: str
    key: str | None = None
    timeout: float = 60.0
    retries: int = 5
    first_wait: float = 1.0

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
            raise CuetuneError(
                "the endpoint's URL must read like https://HOST/v1, without user, password or query; a key belongs in "
                "an environment variable."
            )
        if not self.model:
            raise CuetuneError("the endpoint needs the name of a model (proposer_model=NAME).")
        if self.timeout <= 0 or self.retries < 0 or self.first_wait < 0:
            raise CuetuneError("an endpoint's timeout must be above 0, its retries and first wait not below.")


class Client:
    """Asks an endpoint. Every attempt counts against `budget`, also those of earlier runs with the same log."""

    def __init__(self, endpoint: Endpoint, log: CallLog, budget: int) -> None:
        self.endpoint, self.log, self.budget = endpoint, log, budget
        self._key = _key(endpoint.key)
        self._limit_name = TOKEN_LIMITS[0]
        self._opener = urllib.request.build_opener(_NoRedirects)

    def ask(self, text: str, number: int, max_tokens: int) -> Reply:
        """The reply to one user message. number: tells equal requests of one search apart.

        A reply that the log holds is not asked for again. Raises BudgetSpentError before an attempt beyond the budget,
        and EndpointError when the endpoint refuses or does not recover.
        """
        request = self.request_hash(text, number, max_tokens)
        known = self.log.find(request)
        if known is not None:
            return known
        for attempt in range(self.endpoint.retries + 1):
            try:
                return self._attempt(request, text, max_tokens)
            except _PassingError as problem:
                reason, wait = str(problem), self._wait(problem, attempt)
            if attempt < self.endpoint.retries:
                time.sleep(wait)
        raise EndpointError(
            f"{self.endpoint.url}: {reason}, also after {self.endpoint.retries} retries. Replies so far are kept; give "
            "the same command again to go on."
        )

    def request_hash(self, text: str, number: int, max_tokens: int) -> str:
        """What a request is known by in the log."""
        parts = [self.endpoint.url, self.endpoint.model, text, number, max_tokens]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def _attempt(self, request: str, text: str, max_tokens: int) -> Reply:
        """One call, counted before it is sent."""
        if self.log.sent >= self.budget:
            raise BudgetSpentError(
                f"the budget of {self.budget} calls to the endpoint is spent; raise budget= to go on."
            )
        self.log.write("sent", request)
        try:
            reply = _reply(self._send(text, max_tokens))
        except (_PassingError, EndpointError) as problem:
            self.log.write("failed", request, why=str(problem))
            raise
        except _OtherLimitError:
            self.log.write("failed", request, why=f"wants {TOKEN_LIMITS[1]}")
            self._limit_name = TOKEN_LIMITS[1]
            return self._attempt(request, text, max_tokens)
        self.log.write("reply", request, **vars(reply))
        return reply

    def _send(self, text: str, max_tokens: int) -> str:
        """The body that comes back, without the key should the endpoint repeat it. Temperature is the default, 1."""
        message = {"role": "user", "content": text}
        body = {"model": self.endpoint.model, "messages": [message], self._limit_name: max_tokens}
        headers = {"Content-Type": "application/json", "User-Agent": "cuetune"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        url = self.endpoint.url.rstrip("/") + "/chat/completions"
        request = urllib.request.Request(url, json.dumps(body).encode(), headers, method="POST")
        deadline = time.monotonic() + self.endpoint.timeout
        try:
            with self._opener.open(request, timeout=self.endpoint.timeout) as response:
                return self._without_key(_read(response, deadline))
        except urllib.error.HTTPError as error:
            raise self._refused(error, deadline) from None
        except TimeoutError:
            raise _PassingError(f"no whole reply within {self.endpoint.timeout:g} seconds") from None
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            if isinstance(reason, TimeoutError):
                raise _PassingError(f"no connection within {self.endpoint.timeout:g} seconds") from None
            raise _PassingError(self._without_key(f"connection failed ({reason})")) from None

    def _refused(self, error: urllib.error.HTTPError, deadline: float) -> Exception:
        """What an HTTP status above 299 means: wait, ask in other words, or give up."""
        try:
            said = self._without_key(_message(_read(error, deadline)))
        except (OSError, http.client.HTTPException):
            said = ""
        reason = f"HTTP {error.code}" + (f": {said}" if said else "")
        if error.code in PASSING or error.code >= 500:
            return _PassingError(reason, _retry_after(error.headers.get("Retry-After")))
        if error.code == 400 and TOKEN_LIMITS[1] in said and self._limit_name != TOKEN_LIMITS[1]:
            return _OtherLimitError()
        hint = {401: "check the key", 403: "check the key", 404: "check URL and model"}.get(
            error.code, "see its message"
        )
        return EndpointError(f"{self.endpoint.url}: {reason}; {hint}.")

    def _wait(self, problem: _PassingError, attempt: int) -> float:
        """Seconds before the next attempt: what was asked for, or doubling from the first wait, give or take a half."""
        if problem.wait is not None:
            if problem.wait > LONGEST_WAIT:
                raise EndpointError(
                    f"{self.endpoint.url}: {problem}; it asks to wait {problem.wait:.0f} seconds. Replies so far are "
                    "kept; give the same command again then."
                )
            return problem.wait
        return min(LONGEST_WAIT, self.endpoint.first_wait * 2**attempt * random.uniform(0.5, 1.5))

    def _without_key(self, text: str) -> str:
        return text.replace(self._key, "[key]") if self._key else text


class _OtherLimitError(Exception):
    """The endpoint knows the limit of tokens by its newer name."""


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect is an error: following it would hand the key to another place."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def _key(variable: str | None) -> str:
    """The key in this environment variable. Errors do not repeat what was given: it might be the key itself."""
    if variable is None:
        return ""
    key = os.environ.get(variable, "").strip()
    if not key:
        raise CuetuneError(
            "the environment variable that proposer_key names is not set; it takes the NAME of a variable that holds "
            "the key, such as OPENAI_API_KEY, and not the key."
        )
    if not (key.isascii() and key.isprintable()):
        raise CuetuneError(f"the key in {variable} has characters that no HTTP header can carry; set it again.")
    return key


def _read(response: Any, deadline: float) -> str:
    """The whole body, unless it is too late or too much: a reply that trickles does not hold a search up."""
    parts: list[bytes] = []
    while piece := response.read1(65536):
        parts.append(piece)
        if time.monotonic() > deadline:
            raise TimeoutError
        if sum(map(len, parts)) > LARGEST_REPLY:
            raise _PassingError(f"a reply of more than {LARGEST_REPLY >> 20} MiB")
    return b"".join(parts).decode("utf-8", errors="replace")


def _reply(body: str) -> Reply:
    """What a chat completion says. Raises _PassingError for anything that is not one."""
    try:
        read = json.loads(body)
        text = read["choices"][0]["message"]["content"]
        usage = read.get("usage") or {}
        return Reply(str(text or ""), int(usage.get("prompt_tokens") or 0), int(usage.get("completion_tokens") or 0))
    except (ValueError, LookupError, TypeError, AttributeError):
        raise _PassingError("the reply is not a chat completion") from None


def _message(body: str) -> str:
    """The endpoint's own words for what is wrong, short; "" where it has none."""
    try:
        read = json.loads(body)
    except ValueError:
        read = {"error": body}
    if not isinstance(read, dict):
        return ""
    error = read.get("error") or read
    text = error.get("message") or error.get("detail") or "" if isinstance(error, dict) else error
    return " ".join(str(text).split())[:200]


def _retry_after(value: str | None) -> float | None:
    """Seconds to wait by a Retry-After header, which holds seconds or a date; None where it says nothing of use."""
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError):
        return None
