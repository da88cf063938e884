"""What an endpoint may answer by malice or mistake: one line, never a traceback, never paid twice, never for ever."""

import gzip
import itertools
import json
import re
import threading
import time
from contextlib import suppress

import pytest
from local_endpoint import Server, send, status

from cuetune.errors import CuetuneError
from cuetune.methods.calls import NAME, CallLog, Prices
from cuetune.methods.completion import retry_after
from cuetune.methods.endpoint import Client, Endpoint, EndpointError, on_this_machine
from cuetune.methods.journal import Journal
from cuetune.methods.proposals import cleaned, instructions_in
from cuetune.methods.redaction import redacted

KEY = 'sk-"se/cr\\et"-0123'


def client(server, folder, budget=20, **more):
    more = {"timeout": 5.0, "retries": 3, "first_wait": 0.0, **more}
    return Client(Endpoint(server.url, "writer", **more), CallLog(folder), budget)


def completion(content='"an answer"', usage='{"prompt_tokens": 3, "completion_tokens": 2}', more=""):
    return f'{{"choices": [{{"message": {{"content": {content}}}}}], "usage": {usage}{more}}}'


@pytest.mark.parametrize(
    "usage",
    [
        '{"prompt_tokens": Infinity, "completion_tokens": -Infinity}',
        '{"prompt_tokens": NaN, "completion_tokens": 1e400}',
        '{"prompt_tokens": -5, "completion_tokens": -1e300}',
        f'{{"prompt_tokens": {"9" * 5000}, "completion_tokens": {10**18}}}',
        '{"prompt_tokens": "many", "completion_tokens": [1]}',
        '{"prompt_tokens": null, "completion_tokens": {}}',
        "[1]",
        '"much"',
        "null",
        "-1",
    ],
)
def test_an_answer_is_taken_whatever_its_usage_says_and_no_bill_is_lowered(server, tmp_path, usage):
    server.plan = [status(200, completion(usage=usage))]
    asking = client(server, tmp_path)
    assert asking.ask("question", 1, 50).text == "an answer"
    assert (asking.log.tokens_in, asking.log.tokens_out) == (0, 0)
    assert client(server, tmp_path, budget=1).ask("question", 1, 50).text == "an answer"
    assert len(server.asked) == 1
    assert Prices(1.0, 1.0).dollars(asking.log.tokens_in, asking.log.tokens_out) == 0


def test_a_count_that_is_one_stands_beside_one_that_is_none(server, tmp_path):
    server.plan = [status(200, completion(usage='{"prompt_tokens": 3, "completion_tokens": -5}'))]
    reply = client(server, tmp_path).ask("question", 1, 50)
    assert (reply.tokens_in, reply.tokens_out) == (3, 0)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (r'"half \ud800 a character"', "half ? a character"),
        (r'"\ud83d\ude00 whole"', "😀 whole"),
        ("null", ""),
        ('[{"type": "text", "text": "in "}, {"type": "image"}, 7, {"text": "parts"}]', "in parts"),
        ('"\\u0000\\u001b[31m"', "\0\x1b[31m"),
        (json.dumps("x" * 300_000), "x" * 200_000),
    ],
)
def test_any_content_is_text_that_files_take(server, tmp_path, content, text):
    server.plan = [status(200, completion(content))]
    assert client(server, tmp_path).ask("question", 1, 50).text == text
    again = client(server, tmp_path, budget=1).ask("question", 1, 50)
    assert again.text == text
    assert len(server.asked) == 1
    again.text.encode()


@pytest.mark.parametrize(
    "body",
    [
        "[" * 100_000,
        '{"a":' * 100_000 + "1" + "}" * 100_000,
        '{"choices": {}}',
        '{"choices": [[]]}',
        '{"choices": [{"message": "no"}]}',
        '{"choices": [{"message": {}}]}',
        "\0",
        "",
        '"text"',
        "data: {}\n\n",
    ],
)
def test_what_is_no_completion_is_one_line_after_the_retries(server, tmp_path, waits, body):
    server.plan = [status(200, body)] * 4
    with pytest.raises(EndpointError, match="not a chat completion, also after 3 retries") as stopped:
        client(server, tmp_path).ask("question", 1, 50)
    assert "\n" not in str(stopped.value)
    assert len(server.asked) == 4


def gzipped(handler, number, body):
    content = gzip.compress(completion().encode())
    handler.send_response(200)
    handler.send_header("Content-Encoding", "gzip")
    handler.send_header("Content-Length", str(len(content)))
    handler.end_headers()
    handler.wfile.write(content)


def encoded(encoding):
    def action(handler, number, body):
        content = completion().encode(encoding)
        handler.send_response(200)
        handler.send_header("Content-Type", "text/html; charset=koi8-r")
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    return action


def longer_than_it_is(handler, number, body):
    """The whole answer, but a length that promises more, and then silence."""
    content = completion().encode()
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(content) + 10))
    handler.end_headers()
    handler.wfile.write(content)


@pytest.mark.parametrize(
    "action", [gzipped, encoded("utf-8-sig"), encoded("utf-16"), encoded("utf-32"), longer_than_it_is]
)
def test_an_answer_counts_in_whatever_it_is_wrapped(server, tmp_path, action):
    server.plan = [action]
    assert client(server, tmp_path).ask("question", 1, 50).text == "an answer"
    assert len(server.asked) == 1


def endless(handler, number, body):
    handler.send_response(200)
    handler.end_headers()
    with suppress(OSError):
        while True:
            handler.wfile.write(b"x" * 65536)


def lies_about_gzip(handler, number, body):
    send(handler, 200, completion(), Content_Encoding="gzip")


def trickling_headers(handler, number, body):
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
    with suppress(OSError):
        for number in range(100):
            handler.wfile.write(f"X-{number}: 1\r\n".encode())
            handler.wfile.flush()
            threading.Event().wait(0.05)


def endless_headers(handler, number, body):
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
    with suppress(OSError):
        for number in itertools.count():
            handler.wfile.write(f"X-{number}: 1\r\n".encode() * 100)


def no_http(handler, number, body):
    handler.wfile.write(b"\x16\x03\x01 this is no HTTP\r\n\r\n")


@pytest.mark.parametrize(
    ("action", "why"),
    [
        (endless, "more than 8 MiB"),
        (lies_about_gzip, "connection failed"),
        (trickling_headers, "no whole reply within 0.5 seconds"),
        (endless_headers, "connection failed"),
        (no_http, "connection failed"),
    ],
)
def test_nothing_goes_on_for_ever(server, tmp_path, action, why):
    server.plan = [action]
    asking, started = client(server, tmp_path, timeout=0.5), time.monotonic()
    assert asking.ask("question", 1, 50).text == "reply 2"
    assert time.monotonic() - started < 5
    failed = [json.loads(line) for line in (tmp_path / NAME).read_text().splitlines()][1]
    assert why in failed["why"]


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("7", 7),
        (" 7.5 ", 7.5),
        ("-3", None),
        ("0", None),
        ("nan", None),
        ("inf", float("inf")),
        ("9" * 5000, float("inf")),
        ("whenever", None),
        ("", None),
        ("Sun, 06 Nov 1994 08:49:37 GMT", None),
        ("Thu, 01 Jan 0001 00:00:00", None),
        ("Fri, 31 Dec 9999 23:59:59 -2359", ...),
        ("Fri, 31 Dec 9999 23:59:59 GMT", ...),
        ("Fri, 99 Dec 99999999999999999999 23:59:59 GMT", None),
        ("7, 120", None),
    ],
)
def test_retry_after_in_any_form(server, tmp_path, waits, value, seconds):
    found = retry_after(value)
    assert found > 2e11 if seconds is ... else found == seconds
    if value is None:
        return
    server.plan = [status(429, Retry_After=value)]
    asking = client(server, tmp_path)
    if seconds is ... or seconds == float("inf"):
        with pytest.raises(EndpointError, match="it asks to wait"):
            asking.ask("question", 1, 50)
        return
    assert asking.ask("question", 1, 50).text == "reply 2"
    assert waits == [seconds or 0.0]


SPELLED = [
    KEY,
    json.dumps(KEY)[1:-1],
    json.dumps(json.dumps(KEY)[1:-1])[1:-1],
    "".join(f"\\u{ord(char):04x}" for char in KEY),
    "".join(f"\\u{ord(char):04X}" for char in KEY),
    "".join(f"\\\\u{ord(char):04x}" for char in KEY),
    "".join(f"%{ord(char):02X}" for char in KEY),
    "".join(f"&#{ord(char)};" for char in KEY),
    "".join(f"&#x{ord(char):x};" for char in KEY),
    KEY.replace("/", "\\/").replace("-", "\\u002d"),
]


@pytest.mark.parametrize("spelled", SPELLED)
def test_the_key_reaches_no_file_and_no_error_however_a_reply_spells_it(server, tmp_path, monkeypatch, spelled):
    monkeypatch.setenv("WRITER_KEY", KEY)
    asking = client(server, tmp_path, key="WRITER_KEY")
    server.says = lambda number, body: f"you are {spelled}"
    texts = [asking.ask("question", 1, 50).text]
    cut_off = f'{{"error": {{"message": "{"x" * 180} {spelled} and so on'
    server.plan = [status(500, cut_off), status(200, completion(f'"written so: {spelled}"'))]
    texts.append(asking.ask("question", 2, 50).text)
    server.plan = [status(401, spelled)]
    with pytest.raises(EndpointError) as stopped:
        asking.ask("question", 3, 50)
    journal = Journal(tmp_path, "k")
    journal.add({"texts": [spelled, KEY], KEY: {"deep": (KEY,)}})
    kept = "".join(path.read_text() for path in tmp_path.rglob("*") if path.is_file())
    for held in [*texts, str(stopped.value), kept]:
        assert not any(each in held for each in SPELLED)
        assert "0123" not in re.sub(r"[0-9a-f]{64}", "", held.replace("\\", ""))  # digests may hold any digits
    assert server.headers[0]["Authorization"] == f"Bearer {KEY}"
    assert redacted(f"a {spelled} b") == "a [key] b"


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"])
def test_a_proxy_gets_nothing_of_an_endpoint_on_this_machine(server, tmp_path, monkeypatch, variable):
    proxy = Server()
    monkeypatch.delenv("no_proxy")
    monkeypatch.setenv(variable, proxy.url.removesuffix("/v1"))
    monkeypatch.setenv("WRITER_KEY", KEY)
    asking = client(server, tmp_path, key="WRITER_KEY")
    assert asking.ask("question", 1, 50).text == "reply 1"
    assert (len(server.asked), len(proxy.asked)) == (1, 0)
    far = Client(Endpoint("http://endpoint.invalid/v1", "writer"), CallLog(None), 5)
    assert far.ask("question", 1, 50).text == "reply 1"
    assert len(proxy.asked) == 1  # for others the user's proxy is used
    proxy.close()


def test_a_wrong_proxy_is_one_line(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "nonsense://x:y:z")
    with pytest.raises(CuetuneError, match="proxy or certificate settings"):
        Client(Endpoint("http://endpoint.invalid/v1", "writer"), CallLog(None), 5)


@pytest.mark.parametrize(
    ("host", "here"),
    [
        ("localhost", True),
        ("a.localhost", True),
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("127.1", True),
        ("2130706433", True),
        ("0x7f.1", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("0.0.0.0", True),
        ("localhost.example.com", False),
        ("10.0.0.1", False),
        ("example.com", False),
        ("::ffff:10.0.0.1", False),
    ],
)
def test_this_machine_is_known_by_any_of_its_names(host, here):
    assert on_this_machine(host) is here


@pytest.mark.parametrize(
    "url", ["http://[::1", "http://host:99999/v1", "http://host:port", "http://", "http://\ud800/v1"]
)
def test_an_address_that_cannot_be_is_one_line(url):
    with pytest.raises(CuetuneError, match="must read like"):
        Endpoint(url, "writer")


def test_odd_lines_of_a_log_cost_nothing_but_themselves(server, tmp_path):
    asking = client(server, tmp_path)
    asking.ask("question", 1, 50)
    odd = ["[]", "7", "null", '"x"', '{"event": "reply"}', '{"event": "gone", "request": "x"}', "[" * 100_000, "{" * 3]
    request = asking.request_hash("question", 2, 50)
    half = {"event": "reply", "request": request, "text": "half \ud800", "tokens_in": -7, "tokens_out": 1e400}
    with (tmp_path / NAME).open("a") as log:
        log.write("\n".join([*odd, json.dumps(half)]) + "\n")
    again = client(server, tmp_path)
    assert again.ask("question", 2, 50).text == "half ?"
    assert (again.log.sent, len(again.log), again.log.tokens_in, len(server.asked)) == (1, 2, 100, 1)


def test_a_journal_takes_any_text_and_reads_it_again(tmp_path):
    entries = [{"texts": ["a\u2028b\x85c\x0bd\x1e", "half \ud800", "é 好"], "loss": 0.5}, {"what": "next"}]
    journal = Journal(tmp_path, "key")
    for entry in entries:
        journal.add(entry)
    assert Journal(tmp_path, "key").entries == entries
    assert Journal(tmp_path, "key").entries == entries  # rewritten by the one before


@pytest.mark.parametrize("line", [b"[1]}", b"\xff\xfe}", b"[" * 100_000 + b"}", b'"x}'])
def test_a_damaged_journal_is_one_line(tmp_path, line):
    journal = Journal(tmp_path, "key")
    journal.add({"what": "x"})
    path = tmp_path / "search.jsonl"
    path.write_bytes(path.read_bytes() + line + b"\n")
    with pytest.raises(CuetuneError, match="is damaged; start over with --restart"):
        Journal(tmp_path, "key")


@pytest.mark.parametrize("text", ["<INS>", '"', "<think>", "<INS>a<", "* ", "<"])
def test_instructions_are_found_in_time_that_grows_with_the_text(text):
    started = time.process_time()
    for found in instructions_in(text * (100_000 // len(text))):
        cleaned(found)
    assert time.process_time() - started < 1
    assert instructions_in("<ins>a <b> c</INS> x <INS>d</ins>") == ["a <b> c", "d"]
