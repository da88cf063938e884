"""cuetune deletes and overwrites only what it can prove it wrote, keeps permissions, and leaves nothing behind."""

import json
import os
import stat
import subprocess
import sys

import pytest

from cuetune.errors import CuetuneError
from cuetune.support import files, leftovers
from cuetune.support.ownership import MARKER, FolderKind
from cuetune.tuning.run_folder import RUN, run_folder_of


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("allowed", [0o600, 0o640, 0o644, 0o666])
def test_a_replaced_file_keeps_its_permissions(tmp_path, allowed):
    path = tmp_path / "o.csv"
    path.write_text("old")
    path.chmod(allowed)
    with files.atomic_file(path) as stream:
        (temporary,) = tmp_path.glob(".*")
        assert mode(temporary) & ~allowed == 0 or allowed == 0o600 == mode(temporary)
        stream.write("new")
    assert (path.read_text(), mode(path)) == ("new", allowed)


def test_a_new_file_has_the_permissions_of_the_process(tmp_path):
    mask = os.umask(0o027)
    try:
        with files.atomic_file(tmp_path / "new"):
            pass
    finally:
        os.umask(mask)
    assert mode(tmp_path / "new") == 0o640


def test_a_replaced_folder_keeps_its_permissions_and_what_is_new_in_it_is_no_more_open(tmp_path):
    folder = tmp_path / "p"
    with files.atomic_folder(folder) as new:
        (new / "a").write_text("old")
    folder.chmod(0o700)
    (folder / "a").chmod(0o600)
    with files.atomic_folder(folder, overwrite=True) as new:
        (new / "a").write_text("new")
        (new / "b").write_text("new")
    assert [mode(path) for path in (folder, folder / "a", folder / "b")] == [0o700, 0o600, 0o600]


def test_a_link_is_followed_and_stays(tmp_path):
    (tmp_path / "real.csv").write_text("old")
    (tmp_path / "link.csv").symlink_to("real.csv")
    with files.atomic_file(tmp_path / "link.csv") as stream:
        stream.write("new")
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "real.csv").read_text() == "new"
    with files.atomic_folder(tmp_path / "real") as new:
        (new / "a").write_text("old")
    (tmp_path / "link").symlink_to("real")
    with files.atomic_folder(tmp_path / "link", overwrite=True) as new:
        (new / "a").write_text("new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "a").read_text() == "new"


def in_the_way(path, what):
    if what == "a pipe":
        os.mkfifo(path)
    elif what == "a folder":
        path.mkdir()
    elif what == "a device":
        path.symlink_to("/dev/null")
    elif what == "a link in a circle":
        path.symlink_to(path.name)


@pytest.mark.parametrize("what", ["a pipe", "a folder", "a device", "a link in a circle"])
def test_what_is_no_file_is_refused_and_stays(tmp_path, what):
    path = tmp_path / "o.csv"
    in_the_way(path, what)
    before = os.lstat(path)
    with pytest.raises(CuetuneError) as refused, files.atomic_file(path):
        pass
    assert "\n" not in str(refused.value)
    assert str(path) in str(refused.value)
    assert os.lstat(path).st_ino == before.st_ino
    assert os.listdir(tmp_path) == ["o.csv"]
    with pytest.raises(CuetuneError), files.atomic_folder(path, overwrite=True, check=_not_ours):
        pass
    assert os.lstat(path).st_ino == before.st_ino


def _not_ours(path):
    raise CuetuneError(f"{path}: is not ours.")


KILLED = """
import os, signal
from pathlib import Path
from cuetune.support import files
writer = files.{call}(Path({path!r}) {more})
new = writer.__enter__()
{write}
os.kill(os.getpid(), signal.SIGKILL)
"""


def killed_while_writing(path, call, write, more=""):
    program = KILLED.format(path=str(path), call=call, write=write, more=more)
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == -9


def test_what_a_killed_process_left_goes_with_the_next_file_that_is_written(tmp_path):
    killed_while_writing(tmp_path / "o.csv", "atomic_file", "new.write('rows'); new.flush()")
    assert [path.read_text() for path in tmp_path.glob(".*.partial")] == ["rows"]
    killed_while_writing(tmp_path / "p", "atomic_folder", "(new / 'a').write_text('rows')")
    assert [path.name for path in tmp_path.glob(".*.partial/*")] == ["a"]
    with files.atomic_file(tmp_path / "other.csv"):
        pass
    assert os.listdir(tmp_path) == ["other.csv"]


def test_what_another_process_is_writing_is_not_swept_away(tmp_path):
    with files.atomic_file(tmp_path / "a") as stream, files.atomic_folder(tmp_path / "b") as folder:
        (folder / "x").write_text("1")
        leftovers.sweep(tmp_path)
        with files.atomic_file(tmp_path / "c"):
            pass
        stream.write("whole")
    assert (tmp_path / "a").read_text() == "whole"
    assert (tmp_path / "b" / "x").read_text() == "1"


USERS = [
    ".git",
    ".venv",
    ".notes.partial",
    ".a.0123456789abcdef.partial",
    ".x.cuetune-0123.partial",
    ".cuetune.partial",
]


@pytest.mark.parametrize("name", USERS)
def test_a_users_hidden_folder_is_never_swept_away_however_old(tmp_path, name):
    (tmp_path / name).mkdir()
    (tmp_path / name / "work").write_text("years")
    os.utime(tmp_path / name, (0, 0))
    leftovers.sweep(tmp_path)
    with files.atomic_file(tmp_path / "o.csv"), files.atomic_folder(tmp_path / "p"):
        pass
    assert (tmp_path / name / "work").read_text() == "years"


def test_a_folder_that_was_moved_aside_by_a_process_that_died_comes_back(tmp_path):
    with files.atomic_folder(tmp_path / "p") as new:
        (new / "a").write_text("old")
    os.rename(tmp_path / "p", tmp_path / leftovers.temporary_name("p", "old"))
    leftovers.sweep(tmp_path)
    assert (tmp_path / "p" / "a").read_text() == "old"


def test_a_name_of_255_bytes_is_written(tmp_path):
    path = tmp_path / ("é" * 125 + ".json")
    with files.atomic_file(path) as stream:
        stream.write("x")
    assert path.read_text() == "x"


KIND = FolderKind("test", RUN.holds)


def test_a_folder_of_ours_is_marked_and_anything_else_is_refused(tmp_path):
    KIND.claim(tmp_path / "ours")
    KIND.claim(tmp_path / "ours")
    assert json.loads((tmp_path / "ours" / MARKER).read_text()) == {"cuetune": "test"}
    (tmp_path / "mine").mkdir()
    KIND.check(tmp_path / "mine")
    (tmp_path / "mine" / "log.jsonl").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for path in (tmp_path / "mine", tmp_path / "file"):
        with pytest.raises(CuetuneError, match="in the way"):
            KIND.claim(path)
    KIND.clear(tmp_path / "mine")
    assert (tmp_path / "mine" / "log.jsonl").exists()


def test_what_a_user_puts_into_a_folder_of_ours_stays_when_it_is_cleared(tmp_path):
    KIND.claim(tmp_path / "ours")
    for name in ("log.jsonl", "notes.txt"):
        (tmp_path / "ours" / name).write_text("x")
    KIND.clear(tmp_path / "ours")
    assert sorted(os.listdir(tmp_path / "ours")) == [MARKER, "notes.txt"]
    (tmp_path / "ours" / "notes.txt").unlink()
    KIND.clear(tmp_path / "ours")
    assert not (tmp_path / "ours").exists()


def test_a_run_folder_from_before_there_were_markers_is_known_by_its_files(tmp_path):
    run = tmp_path / "p.run"
    (run / "words").mkdir(parents=True)
    (run / "words" / "log.jsonl").write_text('{"event": "step", "step": 1, "loss": 2.0}\n{"eve')
    assert run_folder_of(tmp_path / "p") == run
    RUN.claim(run)
    (tmp_path / "q.run").mkdir()
    (tmp_path / "q.run" / "log.jsonl").write_text('{"my": "log"}\n')
    with pytest.raises(CuetuneError, match="did not write it"):
        run_folder_of(tmp_path / "q")


def test_a_plot_of_a_users_is_not_drawn_over(tmp_path):
    pytest.importorskip("matplotlib")
    from cuetune.support.figures import check_drawn, new_figure, save_figure

    path = tmp_path / "accuracy.png"
    check_drawn(path)
    save_figure(new_figure(1, 1), path)
    check_drawn(path)
    figure = new_figure(1, 1)
    figure.savefig(path)
    with pytest.raises(CuetuneError, match="did not draw it"):
        check_drawn(path)


def test_pulled_data_do_not_replace_what_a_user_changed(tmp_path):
    path = tmp_path / "rows.csv"
    for _ in range(2):
        with files.atomic_file(path, keep=True) as stream:
            stream.write("as pulled")
    path.write_text("with my labels")
    with pytest.raises(CuetuneError, match="holds something else"), files.atomic_file(path, keep=True) as stream:
        stream.write("as pulled")
    assert path.read_text() == "with my labels"
    assert os.listdir(tmp_path) == ["rows.csv"]
