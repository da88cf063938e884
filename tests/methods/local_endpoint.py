"""An OpenAI-compatible endpoint on this machine that works, hesitates, fails, stalls and lies as it is told."""

import json
import socket
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server:
    """Answers as `plan` says, one entry for each request; then with completions. Remembers what it was asked."""

    def __init__(self):
        self.plan, self.asked, self.headers = [], [], []
        self.says = lambda number, body: f"reply {number}"
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):  # noqa: N802
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.asked.append(body)
                outer.headers.append(dict(self.headers))
                outer.path = self.path
                action = outer.plan.pop(0) if outer.plan else outer.completes
                action(self, len(outer.asked), body)

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"

    def completes(self, handler, number, body):
        usage = {"prompt_tokens": 100, "completion_tokens": 7}
        reply = {"choices": [{"message": {"content": self.says(number, body)}}], "usage": usage}
        send(handler, 200, json.dumps(reply))

    def close(self):
        self._server.shutdown()
        self._server.server_close()


def send(handler, status, text, **headers):
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.send_header("Content-Length", str(len(text.encode())))
    handler.end_headers()
    handler.wfile.write(text.encode())


def status(code, text="{}", **headers):
    return lambda handler, number, body: send(handler, code, text, **headers)


def stalls(handler, number, body):
    threading.Event().wait(0.6)


def trickles(handler, number, body):
    """A byte now and then: no single read is late, the whole reply is."""
    handler.send_response(200)
    handler.end_headers()
    with suppress(OSError):  # nobody waits for the end
        for _ in range(12):
            handler.wfile.write(b" ")
            handler.wfile.flush()
            threading.Event().wait(0.1)


def drops(handler, number, body):
    handler.connection.shutdown(socket.SHUT_RDWR)


def cuts(handler, number, body):
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"choices": [')
