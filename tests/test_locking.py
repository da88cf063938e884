"""A folder that is read, changed and written has one writer at a time; what another wrote is not replaced unseen."""

import os
import subprocess
import sys
import threading

import pytest

from cuetune.errors import CuetuneError
from cuetune.support.files import atomic_file
from cuetune.support.locking import alone, locked

HOLDS = """
import sys, time
from cuetune.support.locking import locked
with locked(sys.argv[1], inside=sys.argv[2] == "inside"):
    print("held", flush=True)
    time.sleep(60)
"""


def holder(folder, where="beside"):
    process = subprocess.Popen([sys.executable, "-c", HOLDS, str(folder), where], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    return process


@pytest.mark.parametrize("where", ["beside", "inside"])
def test_a_second_process_is_refused_at_once_and_a_kill_frees_the_folder(tmp_path, where):
    process = holder(tmp_path / "p", where)
    try:
        with pytest.raises(CuetuneError, match=f"process {process.pid}") as refused:  # noqa: SIM117
            with locked(tmp_path / "p", inside=where == "inside"):
                pass
        assert "\n" not in str(refused.value)
    finally:
        process.kill()
        process.wait()
    with locked(tmp_path / "p", inside=where == "inside"):
        pass
    assert os.listdir(tmp_path) in ([], ["p"])
    assert where == "inside" or not (tmp_path / "p").exists()


def test_another_thread_is_refused_and_the_same_one_is_not(tmp_path):
    refused = []

    def other():
        try:
            with locked(tmp_path / "p"):
                pass
        except CuetuneError as error:
            refused.append(error)

    with locked(tmp_path / "p"), locked(tmp_path / "p"):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert len(refused) == 1
    other()
    assert len(refused) == 1


def test_a_link_and_what_it_points_to_are_one_place(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    process = holder(tmp_path / "link")
    try:
        with pytest.raises(CuetuneError, match="at work there"), locked(tmp_path / "real"):
            pass
    finally:
        process.kill()
        process.wait()


def test_what_was_changed_in_the_meantime_is_not_replaced(tmp_path):
    (tmp_path / "p").mkdir()
    with locked(tmp_path / "p") as held:
        with held.replacing():
            (tmp_path / "p" / "a").write_text("1")
        with held.replacing():
            (tmp_path / "p" / "a").write_text("22")
        (tmp_path / "p" / "a").write_text("333")  # another program, which knows nothing of locks
        with pytest.raises(CuetuneError, match="changed by another program"), held.replacing():
            raise AssertionError("never entered")


def test_a_function_runs_alone_on_the_folder_that_it_is_given(tmp_path):
    @alone("to", "prompt")
    def work(prompt, to=None):
        return sorted(os.listdir(tmp_path))

    assert work(tmp_path / "p") == [".p.cuetune-lock"]
    assert work(tmp_path / "p", to=tmp_path / "q") == [".q.cuetune-lock"]
    assert os.listdir(tmp_path) == []


def test_a_place_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(CuetuneError, match="cannot write") as refused, locked(tmp_path / "file" / "p"):
        pass
    assert "\n" not in str(refused.value)


def test_without_locks_a_line_says_so_and_work_goes_on(tmp_path, monkeypatch, capsys):
    def unknown(*_):
        raise OSError(37, "No locks available")

    monkeypatch.setattr("cuetune.support.leftovers.fcntl.flock", unknown)
    with locked(tmp_path / "p"):
        pass
    said = capsys.readouterr().err
    assert "no locks" in said
    assert said.count("\n") == 1


def a_pipe(path):
    os.mkfifo(path)


def a_folder(path):
    path.mkdir()


def a_note(path):
    path.write_text("mine")


def a_link(path):
    path.with_name("mine.txt").write_text("mine")
    path.symlink_to(path.with_name("mine.txt"))


@pytest.mark.parametrize("make", [a_pipe, a_folder, a_note, a_link])
def test_what_only_has_the_name_of_a_lock_stays(tmp_path, make):
    path = tmp_path / ".p.cuetune-lock"
    make(path)
    before = path.lstat()
    with (
        pytest.raises(CuetuneError, match=r"\.p\.cuetune-lock: is in the way, and cuetune did not write it"),
        locked(tmp_path / "p"),
    ):
        pass
    with atomic_file(tmp_path / "other.txt") as stream:  # sweeps
        stream.write("x")
    assert os.path.samestat(path.lstat(), before)
    assert path.is_fifo() or path.is_dir() or path.read_text() == "mine"


def test_the_lock_of_a_process_that_died_is_taken_and_swept(tmp_path):
    for text in ("", "12345\n"):
        (tmp_path / ".p.cuetune-lock").write_text(text)
        with locked(tmp_path / "p"):
            assert (tmp_path / ".p.cuetune-lock").exists()
        (tmp_path / ".q.cuetune-lock").write_text(text)
        with atomic_file(tmp_path / "other.txt") as stream:
            stream.write("x")
        assert not list(tmp_path.glob(".*"))
