"""A deadline for a whole exchange over HTTP: an HTTP client's own time-outs are for single reads, which may trickle."""

import socket
import threading
from contextlib import suppress
from typing import Any


class Deadline:
    """Shuts the connections down that were opened within the block when `seconds` are over.

    trace: what httpx's extension "trace" calls. passed: whether the time was over before the block ended.
    """

    def __init__(self, seconds: float) -> None:
        self.passed = False
        self._timer = threading.Timer(min(seconds, threading.TIMEOUT_MAX), self._pass)
        self._timer.daemon = True
        self._lock = threading.Lock()
        self._connections: list[socket.socket] = []

    def __enter__(self) -> "Deadline":
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        with self._lock:
            for connection in self._connections:
                connection.close()

    def trace(self, event: str, info: dict[str, Any]) -> None:
        """Remember a connection, by a handle of our own: TLS takes the first one over."""
        if event.endswith("connect_tcp.complete"):
            with self._lock:
                self._connections.append(info["return_value"].get_extra_info("socket").dup())
            if self.passed:
                self._pass()

    def _pass(self) -> None:
        self.passed = True
        with self._lock:
            for connection in self._connections:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
