"""Logs and journals that somebody else wrote, or a crash damaged: one line, or passed over; never blocked."""

import json
import os

import pytest

from cuetune.errors import CuetuneError
from cuetune.methods.calls import CallLog
from cuetune.methods.journal import Journal
from cuetune.support.ownership import MARKER
from cuetune.tuning.progress import JsonLog
from cuetune.tuning.run_folder import unfinished_run

KEY = "a" * 64
HOSTILE = ("[" * 100_000, '{"step": ' + "9" * 5000 + "}", "[1, 2]", "null", '{"step": ' + '{"a":' * 2000 + "1")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / MARKER).write_text('{"cuetune": "run"}')
    return tmp_path


@pytest.mark.parametrize("line", HOSTILE)
def test_hostile_lines_of_a_log_are_dropped(folder, line):
    good = [json.dumps({"event": "step", "step": step, "loss": float("nan")}) for step in (1, 2, 3)]
    (folder / "log.jsonl").write_text("\n".join([good[0], line, *good[1:], ""]))
    JsonLog(folder).start(9, 2)
    assert (folder / "log.jsonl").read_text() == "\n".join([*good[:2], ""])


@pytest.mark.parametrize("line", HOSTILE)
def test_hostile_lines_of_paid_replies_are_passed_over(folder, line):
    reply = json.dumps({"event": "reply", "request": "r", "text": "half \ud83d"})
    (folder / "calls.jsonl").write_text(f"{line}\n{reply}\n")
    assert CallLog(folder).find("r") is not None


@pytest.mark.parametrize("line", HOSTILE)
def test_hostile_lines_of_a_journal_are_one_line(folder, line):
    (folder / "search.jsonl").write_text(f'{{"key": "{KEY}"}}\n{line}}}\n')
    with pytest.raises(CuetuneError, match=r"search.jsonl: is damaged; start over with --restart\.$"):
        Journal(folder, KEY)


def test_a_journal_keeps_halves_of_characters_and_no_numbers(folder):
    journal = Journal(folder, KEY)
    journal.add({"words": "half \ud83d", "score": float("nan")})
    assert Journal(folder, KEY).entries[0]["words"] == "half \ud83d"


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("log.jsonl", lambda folder: JsonLog(folder).start(9, 2)),
        ("calls.jsonl", CallLog),
        ("search.jsonl", lambda folder: Journal(folder, KEY)),
    ],
)
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["pipe", "folder"])
def test_what_is_no_file_is_one_line_and_blocks_nobody(folder, name, read, make):
    make(folder / name)
    with pytest.raises(CuetuneError, match="not a plain file"):
        read(folder)
    assert unfinished_run(folder) is None
