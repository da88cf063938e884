"""What ends a command from outside: SIGTERM and SIGHUP clean up as Ctrl-C does; the exit code says what it was."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

ENDING = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
_last = signal.SIGINT  # which of them ended this command


def _end(number: int, _: Any) -> None:
    global _last
    _last = signal.Signals(number)
    raise KeyboardInterrupt


@contextmanager
def heard() -> Iterator[None]:
    """While the block runs, SIGTERM and SIGHUP raise KeyboardInterrupt, unless whoever started us wants otherwise."""
    global _last
    _last = signal.SIGINT
    main = threading.current_thread() is threading.main_thread()
    ours = [each for each in ENDING if main and signal.getsignal(each) == signal.SIG_DFL]
    for each in ours:
        signal.signal(each, _end)
    try:
        yield
    finally:
        for each in ours:
            signal.signal(each, signal.SIG_DFL)


def exit_code() -> int:
    """130 after Ctrl-C, 143 after SIGTERM, 129 after SIGHUP."""
    return 128 + _last
