"""What a person sees of a run, and what is kept of it: a bar with time left, a JSONL log, TensorBoard if wanted."""

import json
import math
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from cuetune.errors import CuetuneError
from cuetune.support import bars, console
from cuetune.support.files import atomic_file, disk_error
from cuetune.support.strict_json import Limits, parse_json, read_limited
from cuetune.tuning.run_folder import LOG, RUN

LARGEST = 2**30  # bytes of a log
LINE = Limits(nan=True, halves=True)


class Reporter(Protocol):
    """Receives the events of a run. Steps count from 1."""

    def start(self, total: int, done: int) -> None: ...
    def step(self, step: int, values: Mapping[str, float]) -> None: ...
    def validation(self, step: int, scores: Mapping[str, float], best: bool) -> None: ...
    def stop(self) -> None: ...


class Bar:
    """A progress bar with loss, validation score and time left; plain lines now and then where there is no terminal.

    doing: what is going on, in a word.
    """

    def __init__(self, doing: str = "tuning") -> None:
        self._doing = doing
        self._bar: Any = None
        self._task: Any = None
        self._note, self._loss = "", "as it begins"
        self._last = 0.0

    def start(self, total: int, done: int) -> None:
        self._bar = bars.step_bar()
        self._bar.start()
        self._task = self._bar.add_task(self._doing, total=total, completed=done, note="")
        self._total = total
        if done:
            console.note(f"going on from step {done}")

    def step(self, step: int, values: Mapping[str, float]) -> None:
        self._loss = f"loss {values['loss']:.3f}" if "loss" in values else ""  # some methods only count rows
        self._bar.update(self._task, completed=step, note=f"{self._loss}{self._note}")
        if self._bar.disable and time.monotonic() - self._last > 10:
            self._last = time.monotonic()
            console.note(f"step {step} of {self._total}: {self._loss}{self._note}")

    def validation(self, step: int, scores: Mapping[str, float], best: bool) -> None:
        shown = ", ".join(f"{name} {value:.3f}" for name, value in scores.items())
        self._note = f", validation {shown}"
        console.note(f"step {step}: {self._loss}, validation {shown}{' (best so far)' if best else ''}")

    def stop(self) -> None:
        self._bar.stop()


class Counter:
    """Rows done, with the rate, for work whose total is not known; silent where there is no terminal."""

    def __init__(self, what: str) -> None:
        self._bar = bars.row_bar()
        self._task = self._bar.add_task(what, total=None, rate="")
        self._started = time.monotonic()
        self._count = 0

    def __enter__(self) -> "Counter":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def advance(self) -> None:
        self._count += 1
        rate = self._count / max(1e-9, time.monotonic() - self._started)
        self._bar.update(self._task, completed=self._count, rate=f"{rate:,.0f} rows/s")


def counted(items: Iterable[Any], what: str) -> Iterator[Any]:
    """The same items, counted for a person to see."""
    with Counter(what) as counter:
        for item in items:
            yield item
            counter.advance()


class JsonLog:
    """One JSON object per event in `log.jsonl`; a resumed run first drops what came after its checkpoint."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / LOG

    def start(self, total: int, done: int) -> None:
        RUN.claim(self._path.parent)
        kept = [line for line in self._lines() if _step(line) <= done] if done else []
        with atomic_file(self._path) as stream:
            stream.write("".join(kept))

    def _lines(self) -> list[str]:
        """What is there; a kill may have left half of the last line."""
        if not os.path.lexists(self._path):
            return []
        text = read_limited(self._path, LARGEST, "move it away").decode(errors="replace")
        return [line for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def step(self, step: int, values: Mapping[str, float]) -> None:
        self._write({"event": "step", "step": step, **values})

    def validation(self, step: int, scores: Mapping[str, float], best: bool) -> None:
        self._write({"event": "validation", "step": step, **scores, "best": best})

    def stop(self) -> None:
        pass

    def _write(self, event: Mapping[str, Any]) -> None:
        try:
            with self._path.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(event) + "\n")
        except OSError as error:
            raise disk_error(self._path, error) from error


def _step(line: str) -> float:
    """The step of a line in the log; one that is damaged belongs to none, and is dropped."""
    try:
        step = parse_json(line, LOG, LINE)["step"]
        return step if isinstance(step, int) else math.inf
    except (CuetuneError, KeyError, TypeError):
        return math.inf


class TensorBoard:
    """Scalars for TensorBoard (`pip install cuetune[tensorboard]`)."""

    def __init__(self, folder: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder))

    def start(self, total: int, done: int) -> None:
        pass

    def step(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(f"train/{name}", value, step)

    def validation(self, step: int, scores: Mapping[str, float], best: bool) -> None:
        for name, value in scores.items():
            self._writer.add_scalar(f"validation/{name}", value, step)

    def stop(self) -> None:
        with suppress(Exception):
            self._writer.close()
