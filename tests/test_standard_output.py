"""Any text fits any standard output; what cannot be written is one line, and a reader who leaves is no error."""

import copy
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cuetune.support.standard_output import Output, OutputError, ReaderGoneError, standard_streams

ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
COMMAND = [sys.executable, "-c", "from cuetune.cli.main import main; main()"]


def over(encoding, errors="strict"):
    raw = io.BytesIO()
    return raw, Output(io.TextIOWrapper(raw, encoding=encoding, errors=errors, newline=""), required=True)


@pytest.mark.parametrize(
    ("encoding", "errors", "written"),
    [
        ("ascii", "strict", b"0.8 (0.7-0.9). '?' \\udcff"),
        ("latin-1", "strict", "0.8 (0.7-0.9). 'ü' \\udcff".encode("latin-1")),
        (
            "ascii",
            "backslashreplace",
            b"0.8 (0.7\\u20130.9)\\u2026 \\u2018\\xfc\\u2019 \\udcff",
        ),  # the user's own choice
        ("utf-8", "strict", "0.8 (0.7–0.9)… ‘ü’ \\udcff".encode()),
        ("utf-16-le", "strict", "0.8 (0.7–0.9)… ‘ü’ \\udcff".encode("utf-16-le")),
    ],
)
def test_what_an_encoding_lacks_is_replaced(encoding, errors, written):
    raw, out = over(encoding, errors)
    out.write("0.8 (0.7–0.9)… ‘ü’ \udcff")
    out.flush()
    assert raw.getvalue() == written


def test_without_a_standard_output_nothing_is_written(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    with standard_streams():
        print("into the void")
        print("into the void", file=sys.stderr)
    assert sys.stdout is None


class Broken(io.StringIO):
    def __init__(self, number):
        super().__init__()
        self.number = number

    def flush(self):
        raise OSError(self.number, os.strerror(self.number))


def test_a_failure_to_write_is_one_line_on_standard_output_and_none_on_standard_error():
    with pytest.raises(OutputError, match="standard output: cannot write: No space left"):
        Output(Broken(28), required=True).flush()
    with pytest.raises(ReaderGoneError):
        Output(Broken(32), required=True).flush()
    Output(Broken(28), required=False).flush()


def test_a_stream_is_otherwise_the_one_it_stands_for():
    raw, out = over("utf-8")
    assert (out.encoding, out.isatty(), out.buffer) == ("utf-8", False, raw)
    out.writelines(["a", "b"])
    out.flush()
    assert raw.getvalue() == b"ab"
    assert not hasattr(copy.copy(Output.__new__(Output)), "encoding")


def run(words, **how):
    how = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "env": ENVIRONMENT, **how}
    return subprocess.run([*COMMAND, *words], **how)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("words", [["models"], ["--help"], ["--version"], ["cost", "--json"]])
def test_a_full_standard_output_is_one_line(words):
    with open("/dev/full", "w") as full:
        ran = run(words, stdout=full)
    assert ran.returncode == 74
    assert ran.stderr == b"error: standard output: cannot write: No space left on device.\n"


@pytest.mark.parametrize("words", [["models"], ["--help"], ["cost", "--json"]])
def test_a_closed_pipe_ends_quietly_with_141(words):
    reader, writer = os.pipe()
    os.close(reader)
    ran = run(words, stdout=writer)
    os.close(writer)
    assert (ran.returncode, ran.stderr) == (141, b"")


@pytest.mark.parametrize("words", [["models"], ["--help"], ["tune", "--help"], ["data"], ["cost", "--explain"]])
@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_any_encoding_will_do_and_tables_are_drawn_in_ascii(words, encoding):
    ran = run(words, env={**ENVIRONMENT, "PYTHONIOENCODING": encoding})
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert {"models": b"+-", "data": b"+-"}.get(words[0], b"") in ran.stdout
    ran.stdout.decode(encoding)


def test_standard_error_that_is_full_or_closed_changes_nothing():
    with open("/dev/full", "w") as full:
        assert run(["show", "/nowhere"], stderr=full).returncode == 2
    ran = subprocess.run(["sh", "-c", '"$@" 2>&-', "sh", *COMMAND, "show", "/nowhere"], env=ENVIRONMENT)
    assert ran.returncode == 2
