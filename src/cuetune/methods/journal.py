"""The journal of a search: every step's result on disk as soon as it is known, so that a killed search goes on."""

import json
import os
from pathlib import Path
from typing import Any

from cuetune.errors import CuetuneError
from cuetune.methods.redaction import redacted
from cuetune.support.files import atomic_file, disk_error
from cuetune.support.strict_json import Limits, parse_json, read_limited
from cuetune.tuning.run_folder import JOURNAL, RUN

NAME = JOURNAL
HALVES = "backslashreplace"  # half a character is written as JSON escapes it
LIMITS = Limits(size=2**28, nan=True, halves=True)  # of the file, and of each line
REMEDY = "start over with --restart"


class Journal:
    """Steps of one search, in order; with a folder, also in its `search.jsonl`, one JSON object per line.

    folder: the run folder, None for none. key: what makes two searches the same one (`tuning.checkpoint.run_key`).
    `entries` holds what an earlier session wrote. Raises CuetuneError for the journal of another search.
    """

    def __init__(self, folder: Path | None, key: str) -> None:
        self._path = None if folder is None else folder / NAME
        self.entries: list[dict[str, Any]] = []
        if self._path is None:
            return
        head, *lines = self._whole_lines() or [""]
        if not head:
            self._start({"key": key})
            return
        if self._read(head).get("key") != key:
            raise CuetuneError(
                f"{self._path}: belongs to a search with other data, options or model; repeat that command to go on "
                "with it, choose another --to, or start over with --restart."
            )
        self.entries = [self._read(line) for line in lines]
        self._start({"key": key}, *self.entries)  # without half a line that a kill may have left

    def add(self, entry: dict[str, Any]) -> None:
        """Keep one step's result."""
        entry = redacted(entry)
        self.entries.append(entry)
        if self._path is None:
            return
        try:
            with self._path.open("a", encoding="utf-8", errors=HALVES) as stream:
                stream.write(_line(entry))
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            raise disk_error(self._path, error) from error

    def _whole_lines(self) -> list[str]:
        assert self._path is not None
        if not os.path.lexists(self._path):
            return []
        try:
            text = read_limited(self._path, LIMITS.size, REMEDY).decode()
        except ValueError as error:
            raise self._damaged() from error
        *lines, _ = text.split("\n")  # behind the last line end is half a line
        return [line for line in lines if line.endswith("}")]

    def _read(self, line: str) -> dict[str, Any]:
        try:
            entry = parse_json(line, str(self._path), LIMITS, REMEDY)
        except CuetuneError as error:
            raise self._damaged() from error
        if not isinstance(entry, dict):
            raise self._damaged()
        return entry

    def _damaged(self) -> CuetuneError:
        return CuetuneError(f"{self._path}: is damaged; {REMEDY}.")

    def _start(self, *entries: dict[str, Any]) -> None:
        assert self._path is not None
        RUN.claim(self._path.parent)
        with atomic_file(self._path, errors=HALVES) as stream:
            stream.write("".join(map(_line, entries)))


def _line(entry: dict[str, Any]) -> str:
    return json.dumps(entry, ensure_ascii=False) + "\n"
