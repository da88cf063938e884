"""An endpoint that works, hesitates, fails, stalls, lies: what is counted, what is kept and what is never written."""

import json
import socket
import time

import pytest
from local_endpoint import cuts, drops, stalls, status, trickles

from cuetune.errors import CuetuneError
from cuetune.methods import calls
from cuetune.methods.calls import BudgetSpentError, CallLog, Estimate, Prices, allowed_calls
from cuetune.methods.endpoint import Client, Endpoint, EndpointError

KEY = "sk-secret-0123456789"


def client(server, folder, budget=20, **more):
    more = {"timeout": 5.0, "retries": 3, **more}
    return Client(Endpoint(server.url, "writer", **more), CallLog(folder), budget)


def test_a_reply_comes_with_its_tokens_and_is_not_paid_twice(server, tmp_path):
    asking = client(server, tmp_path)
    reply = asking.ask("question", 1, 50)
    assert (reply.text, reply.tokens_in, reply.tokens_out) == ("reply 1", 100, 7)
    assert server.path == "/v1/chat/completions"
    assert server.asked[0] == {
        "model": "writer",
        "messages": [{"role": "user", "content": "question"}],
        "max_tokens": 50,
    }
    assert asking.ask("question", 1, 50) == reply
    assert client(server, tmp_path, budget=1).ask("question", 1, 50) == reply
    assert asking.ask("question", 2, 50).text == "reply 2"  # the same words, but another request of the search
    assert len(server.asked) == 2
    assert (asking.log.tokens_in, asking.log.tokens_out) == (200, 14)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (status(500), "HTTP 500"),
        (status(429, '{"error": {"message": "too fast"}}'), "HTTP 429: too fast"),
        (status(200, '{"choices": []}'), "not a chat completion"),
        (status(200, "<html>"), "not a chat completion"),
        (status(200, "[1]"), "not a chat completion"),
        (cuts, "not a chat completion"),
        (drops, "connection failed"),
    ],
)
def test_what_may_pass_is_tried_again_and_counted(server, tmp_path, waits, fault, said):
    server.plan = [fault, fault]
    asking = client(server, tmp_path)
    assert asking.ask("question", 1, 50).text == "reply 3"
    assert (asking.log.sent, asking.log.failed, len(asking.log)) == (3, 2, 1)
    events = [json.loads(line) for line in (tmp_path / calls.NAME).read_text().splitlines()]
    assert [event["event"] for event in events] == ["sent", "failed"] * 2 + ["sent", "reply"]
    assert said in events[1]["why"]
    assert 0.5 <= waits[0] <= 1.5
    assert 1 <= waits[1] <= 3


@pytest.mark.parametrize("fault", [stalls, trickles])
def test_a_reply_that_does_not_come_in_time_is_given_up(server, tmp_path, fault):
    server.plan = [fault]
    asking = client(server, tmp_path, timeout=0.25, first_wait=0.0)
    started = time.monotonic()
    assert asking.ask("question", 1, 50).text == "reply 2"
    assert time.monotonic() - started < 1
    assert asking.log.failed == 1


def test_an_endpoint_that_stays_down_ends_with_one_line_and_costs_no_more_than_said(server, tmp_path, waits):
    server.plan = [status(503)] * 10
    asking = client(server, tmp_path)
    with pytest.raises(EndpointError, match="HTTP 503, also after 3 retries.*same command") as stopped:
        asking.ask("question", 1, 50)
    assert "\n" not in str(stopped.value)
    assert (len(server.asked), asking.log.sent, len(waits)) == (4, 4, 3)


def test_retry_after_is_honoured_in_seconds_and_as_a_date(server, tmp_path, waits):
    soon = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 30))
    server.plan = [status(429, Retry_After="7"), status(429, Retry_After=soon), status(503, Retry_After="whenever")]
    client(server, tmp_path).ask("question", 1, 50)
    assert waits[0] == 7
    assert 25 < waits[1] <= 30
    assert 2 <= waits[2] <= 6  # nothing of use was said: the third wait of its own


def test_an_endpoint_that_asks_for_hours_is_left_alone(server, tmp_path, waits):
    server.plan = [status(429, Retry_After="7200")]
    with pytest.raises(EndpointError, match="asks to wait 7200 seconds"):
        client(server, tmp_path).ask("question", 1, 50)
    assert (len(server.asked), waits) == (1, [])


@pytest.mark.parametrize("code", [400, 401, 403, 404, 302, 307])
def test_a_refusal_is_not_tried_again_nor_a_redirect_followed(server, tmp_path, code):
    server.plan = [status(code, '{"error": {"message": "no\\nway"}}', Location=server.url)]
    with pytest.raises(EndpointError, match=f"HTTP {code}: no way"):
        client(server, tmp_path).ask("question", 1, 50)
    assert len(server.asked) == 1


def test_the_newer_name_of_the_token_limit_is_used_where_the_older_is_refused(server, tmp_path):
    server.plan = [status(400, '{"error": {"message": "use max_completion_tokens"}}')]
    asking = client(server, tmp_path)
    assert asking.ask("question", 1, 50).text == "reply 2"
    assert server.asked[1]["max_completion_tokens"] == 50
    assert "max_tokens" not in server.asked[1]
    asking.ask("question", 2, 50)
    assert (len(server.asked), asking.log.sent) == (3, 3)


def test_the_budget_holds_for_retries_and_for_later_sessions(server, tmp_path, waits):
    server.plan = [status(500)] * 2
    asking = client(server, tmp_path, budget=2)
    with pytest.raises(BudgetSpentError, match="budget of 2 calls"):
        asking.ask("question", 1, 50)
    with pytest.raises(BudgetSpentError):
        client(server, tmp_path, budget=2).ask("question", 1, 50)
    assert len(server.asked) == 2
    assert client(server, tmp_path, budget=3).ask("question", 1, 50).text == "reply 3"


def test_a_killed_session_has_counted_its_call_and_half_a_line_does_no_harm(server, tmp_path):
    asking = client(server, tmp_path)
    asking.ask("question", 1, 50)
    log = tmp_path / calls.NAME
    log.write_text(log.read_text() + '{"event": "sent", "request": "x"}\n{"event": "rep')
    again = client(server, tmp_path)
    assert again.log.sent == 2
    assert again.ask("question", 2, 50).text == "reply 2"
    assert len(CallLog(tmp_path)) == 2


def test_the_key_goes_into_one_header_and_nowhere_else(server, tmp_path, monkeypatch):
    monkeypatch.setenv("WRITER_KEY", f" {KEY}\n")
    server.says = lambda number, body: f"you are {KEY}"
    server.plan = [server.completes, status(401, f'{{"error": {{"message": "wrong key {KEY}"}}}}')]
    asking = client(server, tmp_path, key="WRITER_KEY")
    assert asking.ask("question", 1, 50).text == "you are [key]"
    with pytest.raises(EndpointError, match=r"wrong key \[key\]; check the key"):
        asking.ask("question", 2, 50)
    assert server.headers[0]["Authorization"] == f"Bearer {KEY}"
    assert KEY not in "".join(path.read_text() for path in tmp_path.rglob("*") if path.is_file())
    assert KEY not in repr(vars(asking.endpoint))


def test_a_key_given_instead_of_its_name_is_not_repeated(monkeypatch):
    with pytest.raises(CuetuneError, match="takes the NAME") as stopped:
        Client(Endpoint("http://127.0.0.1:1/v1", "writer", KEY), CallLog(None), 1)
    assert KEY not in str(stopped.value)
    monkeypatch.setenv("WRITER_KEY", "a\nb")
    with pytest.raises(CuetuneError, match="no HTTP header"):
        Client(Endpoint("http://127.0.0.1:1/v1", "writer", "WRITER_KEY"), CallLog(None), 1)


@pytest.mark.parametrize("url", ["", "host/v1", "ftp://host/v1", "https://user:word@host/v1", "https://host/v1?key=a"])
def test_only_a_plain_url_is_taken(url):
    with pytest.raises(CuetuneError, match="must read like"):
        Endpoint(url, "writer")


def test_nobody_listening_is_one_line(waits, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        nowhere = Endpoint(f"http://127.0.0.1:{unused.getsockname()[1]}/v1", "writer", retries=1)
        with pytest.raises(EndpointError, match="connection failed"):
            Client(nowhere, CallLog(None), 5).ask("question", 1, 50)


def test_an_estimate_is_said_and_must_be_within_the_budget_or_agreed_to(monkeypatch):
    estimate, said = Estimate(10, 20_000, 5_000), []
    monkeypatch.setattr(calls.sys, "stdin", open("/dev/null"))  # noqa: SIM115
    assert allowed_calls(estimate, 12, Prices(3.0, 15.0), said.append) == 12
    assert "10 calls, about 20,000 tokens in, 5,000 out at most, $0.1350; budget 12" in said[0]
    for budget in (9, None):
        with pytest.raises(CuetuneError, match="nothing was sent. Allow it with budget=12"):
            allowed_calls(estimate, budget, Prices(), said.append)
    assert "dollars unknown" in said[-1]


@pytest.mark.parametrize(("answer", "budget", "allowed"), [("y", None, 12), ("yes", 4, 4), ("", None, 0), ("n", 4, 0)])
def test_a_person_is_asked(monkeypatch, answer, budget, allowed):
    class Terminal:
        def isatty(self):
            return True

    monkeypatch.setattr(calls.sys, "stdin", Terminal())
    monkeypatch.setattr("builtins.input", lambda question: answer)
    if allowed:
        assert allowed_calls(Estimate(10, 1, 1), budget, Prices(), print) == allowed
    else:
        with pytest.raises(CuetuneError, match="nothing was sent"):
            allowed_calls(Estimate(10, 1, 1), budget, Prices(), print)
