"""`cuetune learn` as a person uses it, and a process of its own that is killed."""

import os
import signal
import subprocess
import sys
import time

import torch
from safetensors.torch import load_file

from tiny import folder, rows, write_csv

COMMAND = [sys.executable, "-c", "from cuetune.cli.main import main; main()"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}


def stream(place):
    for name, seed in (("first", 0), ("second", 1)):
        write_csv(place / f"{name}.csv", rows(40, seed))
    path = place / "STREAM.yaml"
    path.write_text("tasks:\n" + "".join(f"  - name: {name}\n    data: {name}.csv\n" for name in ("first", "second")))
    return path


def test_all_tasks_or_the_next_one(cuetune, tmp_path):
    words = ("learn", stream(tmp_path), "--method", "simple-cil", "--model", folder(), "--to", tmp_path / "out")
    code, out, err = cuetune(*words, "--next-task")
    assert code == 0, err
    assert "task 1 of 2: first (neg, pos), 32 rows to learn, 8 held out" in out
    assert "task 2" not in out
    code, out, err = cuetune(*words)
    assert code == 0, err
    assert "going on after 1 of 2 tasks (first)" in out
    assert "A_N" in out
    assert "no row of any task is in it" in out
    assert "next: cuetune predict" in out
    assert {each.name for each in (tmp_path / "out").iterdir()} == {"stream.safetensors", "accuracy.png"}


def test_several_methods_share_a_table_and_a_plot(cuetune, tmp_path):
    words = ("learn", stream(tmp_path), "--model", folder(), "--to", tmp_path / "out")
    code, out, err = cuetune(*words, "--method", "simple-cil, simple-cil-joint")
    assert code == 0, err
    assert "simple-cil-joint: accuracy on held-out rows" in out
    assert {each.name for each in (tmp_path / "out").iterdir()} == {"accuracy.png", "simple-cil", "simple-cil-joint"}


def test_mistakes_are_one_line(cuetune, tmp_path):
    path = stream(tmp_path)
    path.write_text(path.read_text().replace("second.csv", "secnd.csv"))
    code, _, err = cuetune("learn", path, "--model", folder(), "--to", tmp_path / "out")
    assert code == 2
    assert "STREAM.yaml, line 5: task 'second': data: no file or folder" in err
    assert "Did you mean 'second.csv'?" in err
    code, _, err = cuetune("learn", stream(tmp_path), "--method", "cora", "--model", folder(), "--to", tmp_path / "out")
    assert code == 2
    assert "unknown method 'cora'" in err
    assert not (tmp_path / "out").exists()


def test_an_option_goes_to_the_methods_that_have_it(cuetune, tmp_path):
    words = ["learn", stream(tmp_path), "--model", folder(), "--method", "coda,ranpac,simple-cil", "--steps", "2"]
    words += ["--method-option", "components=2", "--method-option", "layers=0-1", "--method-option", "width=30"]
    code, _, err = cuetune(*words, "--to", tmp_path / "out")
    assert code == 0, err
    kept = {name: load_file(tmp_path / "out" / name / "stream.safetensors") for name in ("coda", "ranpac")}
    assert kept["coda"]["prompt.keys.current"].shape[1] == 2
    assert kept["ranpac"]["G"].shape == (30, 30)
    code, _, err = cuetune(*words, "--method-option", "heigth=1", "--to", tmp_path / "other")
    assert code == 2
    assert (
        "--method-option heigth: no method here has it (coda: components, length, layers, orthogonality, freeze_head, "
        in err
    )
    assert "; ranpac: width, ridge; simple-cil: none)" in err
    assert not (tmp_path / "other").exists()


def test_kill_9_within_a_task_and_the_same_command_goes_on_to_the_same_numbers(tmp_path):
    words = ["learn", stream(tmp_path), "--model", folder(), "--dtype", "float32", "--steps", "60"]
    words += ["--method-option", "components=2", "--method-option", "length=2", "--method-option", "layers=0-1"]

    def start(to):
        command = [*COMMAND, *map(str, words), "--to", str(tmp_path / to)]
        return subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def finish(to):
        process = start(to)
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors.decode()

    finish("whole")
    process = start("cut")
    checkpoint = tmp_path / "cut" / "run" / "task-2" / "checkpoint.safetensors"
    end = time.monotonic() + 120
    while not checkpoint.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    finish("cut")
    whole, cut = (load_file(tmp_path / name / "stream.safetensors") for name in ("whole", "cut"))
    assert whole.keys() == cut.keys()
    assert all(torch.equal(whole[name], cut[name]) for name in whole)


HOLDING = """
import sys, time
from cuetune.support.locking import locked
with locked(sys.argv[1], inside=True):
    print(flush=True)
    time.sleep(60)
"""


def lines_of(place):
    return {str(path.relative_to(place)): path.read_bytes() for path in place.rglob("*") if path.is_file()}


def test_a_users_own_files_in_the_folder_stay_and_what_is_in_the_way_is_refused(cuetune, tmp_path):
    project = tmp_path / "proj"
    words = ("learn", stream(tmp_path), "--method", "simple-cil", "--model", folder(), "--to", project)
    state = "stream.safetensors"
    for name, said in (("run/r.txt", "run: is in the way"), (state, f"{state}: is in the way")):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text("mine")
        for more in ((), ("--restart",)):
            code, _, err = cuetune(*words, *more)
            assert (code, err.count("\n")) == (2, 1), err
            assert said in err
            assert lines_of(project) == {name: b"mine"}
        (project / name).unlink()
        if (project / "run").exists():
            (project / "run").rmdir()
    (project / "notes.txt").write_text("mine")
    (project / "accuracy.png").write_text("mine")
    code, out, err = cuetune(*words)
    assert code == 0, err
    assert "no plot" in out
    assert set(lines_of(project)) == {"notes.txt", "accuracy.png", "stream.safetensors"}
    assert {(project / name).read_text() for name in ("notes.txt", "accuracy.png")} == {"mine"}


def test_runs_from_before_there_were_markers_are_swept_and_what_else_lies_there_stays(tmp_path):
    from cuetune.methods.continual.learning import _clear
    from cuetune.tuning.run_folder import RUN

    runs = tmp_path / "run"
    for name in ("task-1", "task-2", "mine"):
        (runs / name).mkdir(parents=True)
        (runs / name / "log.jsonl").write_text('{"event": "step", "step": 1}\n')
    (runs / "task-1" / "notes.txt").write_text("mine")
    RUN.claim(runs)
    _clear(runs, "task-2")
    assert sorted(lines_of(runs)) == [".cuetune", "mine/log.jsonl", "task-1/notes.txt", "task-2/log.jsonl"]


def test_two_at_once_to_one_folder_are_refused_at_once(cuetune, tmp_path):
    from cuetune.methods.continual.learning import RUNS
    from cuetune.support.locking import locked

    (tmp_path / "out").mkdir()
    words = ("learn", stream(tmp_path), "--method", "simple-cil", "--model", folder(), "--to", tmp_path / "out")
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDING, tmp_path / "out"], env=ENVIRONMENT, stdout=subprocess.PIPE
    )
    try:
        process.stdout.readline()
        code, _, err = cuetune(*words)
    finally:
        process.kill()
        process.wait()
    assert (code, err.count("\n")) == (2, 1), err
    assert f"(process {process.pid}) is at work there" in err
    with locked(tmp_path / "out", inside=True):
        assert not (tmp_path / "out" / RUNS).exists()
    assert os.listdir(tmp_path / "out") == []
