"""An OpenAI-compatible endpoint: one chat completion for each request, retried with patience, within a budget of calls.

The key is read from an environment variable whose name the user gives. It goes into one header and nowhere else: not
into a file, a log, an error, or another host's hands by a redirect or, on this machine, a proxy.
"""

import hashlib
import ipaddress
import json
import os
import random
import socket
import time
from dataclasses import dataclass

import httpx2

from cuetune.errors import CuetuneError
from cuetune.methods.calls import BudgetSpentError, CallLog, Reply
from cuetune.methods.completion import NoCompletionError, read_completion, refusal, retry_after
from cuetune.methods.deadline import Deadline
from cuetune.methods.redaction import keep_secret, redacted

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
        if not _plain_url(self.url):
            raise CuetuneError(
                "the endpoint's URL must read like https://HOST/v1, without user, password or query; a key belongs in "
                "an environment variable."
            )
        if not self.model:
            raise CuetuneError("the endpoint needs the name of a model (proposer_model=NAME).")
        if not self.timeout > 0 or self.retries < 0 or not self.first_wait >= 0:
            raise CuetuneError("an endpoint's timeout must be above 0, its retries and first wait not below.")


class Client:
    """Asks an endpoint. Every attempt counts against `budget`, also those of earlier runs with the same log."""

    def __init__(self, endpoint: Endpoint, log: CallLog, budget: int) -> None:
        self.endpoint, self.log, self.budget = endpoint, log, budget
        self._key = _key(endpoint.key)
        self._limit_name = TOKEN_LIMITS[0]
        self._http = _client(endpoint)

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
            reply = self._send(text, max_tokens)
        except (_PassingError, EndpointError) as problem:
            self.log.write("failed", request, why=str(problem))
            raise
        except _OtherLimitError:
            self.log.write("failed", request, why=f"wants {TOKEN_LIMITS[1]}")
            self._limit_name = TOKEN_LIMITS[1]
            return self._attempt(request, text, max_tokens)
        self.log.write("reply", request, **vars(reply))
        return reply

    def _send(self, text: str, max_tokens: int) -> Reply:
        """The reply to one request. Temperature is the default, 1."""
        message = {"role": "user", "content": text}
        body = {"model": self.endpoint.model, "messages": [message], self._limit_name: max_tokens}
        status, headers, content = self._exchange(json.dumps(body).encode())
        if not 200 <= status < 300:
            raise self._refused(status, headers, content)
        try:
            return read_completion(content)
        except NoCompletionError:
            raise _PassingError("the reply is not a chat completion") from None

    def _exchange(self, body: bytes) -> tuple[int, httpx2.Headers, bytes]:
        """Status, headers and content of what comes back, in time and of bounded size. Raises _PassingError."""
        headers = {"Content-Type": "application/json", "User-Agent": "cuetune", "Accept-Encoding": "identity"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        url = self.endpoint.url.rstrip("/") + "/chat/completions"
        late = f"within {self.endpoint.timeout:g} seconds"
        deadline = Deadline(self.endpoint.timeout)
        try:
            request = self._http.build_request("POST", url, content=body, headers=headers)
            request.extensions["trace"] = deadline.trace
            with deadline:
                response = self._http.send(request, stream=True)
                content = _read(response)
        except _PassingError:
            raise
        except httpx2.ConnectTimeout:
            raise _PassingError(f"no connection {late}") from None
        except Exception as error:  # a transport has many ways to fail, and none is worth a traceback
            if deadline.passed or isinstance(error, httpx2.TimeoutException):
                raise _PassingError(f"no whole reply {late}") from None
            raise _PassingError(redacted(f"connection failed ({str(error) or type(error).__name__})")) from None
        if deadline.passed:
            raise _PassingError(f"no whole reply {late}")
        return response.status_code, response.headers, content

    def _refused(self, status: int, headers: httpx2.Headers, content: bytes) -> Exception:
        """What an HTTP status that is no success means: wait, ask in other words, or give up."""
        said = refusal(content)
        reason = f"HTTP {status}" + (f": {said}" if said else "")
        if status in PASSING or status >= 500:
            return _PassingError(reason, retry_after(headers.get("Retry-After")))
        if status == 400 and TOKEN_LIMITS[1] in said and self._limit_name != TOKEN_LIMITS[1]:
            return _OtherLimitError()
        hint = {401: "check the key", 403: "check the key", 404: "check URL and model"}.get(status, "see its message")
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


class _OtherLimitError(Exception):
    """The endpoint knows the limit of tokens by its newer name."""


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
    keep_secret(key)
    return key


def _plain_url(url: str) -> bool:
    """Whether this is an http or https address with a host, and no secret in it."""
    try:
        parts = httpx2.URL(url)
    except (httpx2.InvalidURL, ValueError, TypeError):
        return False
    plain = not (parts.userinfo or parts.query or parts.fragment)
    return plain and parts.scheme in ("http", "https") and bool(parts.host) and (parts.port or 1) < 2**16


def _client(endpoint: Endpoint) -> httpx2.Client:
    """A client that follows no redirect, and takes no proxy to this very machine: either would get the key."""
    try:
        return httpx2.Client(
            timeout=endpoint.timeout,
            follow_redirects=False,
            trust_env=not on_this_machine(httpx2.URL(endpoint.url).host),
            limits=httpx2.Limits(max_keepalive_connections=0),
        )
    except Exception as error:  # proxies and certificates of the environment
        raise CuetuneError(
            f"{endpoint.url}: the environment's proxy or certificate settings are wrong ({error}); check HTTP_PROXY, "
            "HTTPS_PROXY, ALL_PROXY and SSL_CERT_FILE."
        ) from error


def on_this_machine(host: str) -> bool:
    """Whether a host's name or number is that of the loopback interface, in any way that a number may be written."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        numbers = {info[4][0] for info in socket.getaddrinfo(host, None, flags=socket.AI_NUMERICHOST)}
    except (OSError, ValueError):  # a name
        return False
    return all(_loops_back(ipaddress.ip_address(str(number).partition("%")[0])) for number in numbers)


def _loops_back(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    mapped = getattr(address, "ipv4_mapped", None) or address
    return bool(mapped.is_loopback or mapped.is_unspecified)


def _read(response: httpx2.Response) -> bytes:
    """The whole body, or as much as came of one that was cut off. Raises _PassingError for one that is too much."""
    content = bytearray()
    try:
        for piece in response.iter_bytes():
            content += piece
            if len(content) > LARGEST_REPLY:
                raise _PassingError(f"a reply of more than {LARGEST_REPLY >> 20} MiB")
    except (httpx2.ReadError, httpx2.RemoteProtocolError):
        pass  # what was answered may be whole all the same
    finally:
        response.close()
    return bytes(content)
