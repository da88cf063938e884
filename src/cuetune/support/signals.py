"""What ends a command from outside: SIGTERM and SIGHUP clean up as Ctrl-C does; the exit code says what it was."""

import _thread
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

ENDING = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
SOON = 0.02  # seconds, after which the object is finalised
_last = signal.SIGINT  # which of them ended this command


def _end(number: int, _: Any) -> None:
    global _last
    _last = signal.Signals(number)
    raise KeyboardInterrupt


def _interrupt() -> None:
    """Ctrl-C for the main thread, from another one."""
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
    else:
        _thread.interrupt_main()


def _unraisable(usual: Callable[[Any], Any], lost: Any) -> None:
    """Raise a KeyboardInterrupt again that Python dropped, because it came while an object was finalised."""
    if issubclass(lost.exc_type, KeyboardInterrupt):
        threading.Timer(SOON, _interrupt).start()
    else:
        usual(lost)


@contextmanager
def heard() -> Iterator[None]:
    """While the block runs, SIGTERM and SIGHUP raise KeyboardInterrupt, unless whoever started us wants otherwise."""
    global _last
    _last = signal.SIGINT
    main = threading.current_thread() is threading.main_thread()
    ours = [each for each in ENDING if main and signal.getsignal(each) == signal.SIG_DFL]
    for each in ours:
        signal.signal(each, _end)
    before, sys.unraisablehook = sys.unraisablehook, partial(_unraisable, sys.unraisablehook)
    try:
        yield
    finally:
        sys.unraisablehook = before
        for each in ours:
            signal.signal(each, signal.SIG_DFL)


def exit_code() -> int:
    """130 after Ctrl-C, 143 after SIGTERM, 129 after SIGHUP."""
    return 128 + _last
