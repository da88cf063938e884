"""The same command goes on from every point at which it can be stopped, and touches nothing that is not its own."""

import json
import os
import pathlib
import signal
import threading
import time

import pytest

from cuetune.api import tune as verb
from cuetune.api import tune_run
from cuetune.errors import CuetuneError
from cuetune.library.digest import digest
from cuetune.library.tuned import TunedPrompt
from cuetune.tuning.checkpoint import Progress, save_checkpoint
from cuetune.tuning.loop import Tuner
from cuetune.tuning.settings import Settings
from tiny import folder, rows, write_csv

SHORT = ("--dtype", "float32", "--steps", "24", "--evaluate-every", "8", "--length", "3", "--no-baselines")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_csv(tmp_path_factory.mktemp("data") / "rows.csv", rows(60))


@pytest.fixture
def tune(cuetune, data):
    def run(to, *more):
        return cuetune("tune", data, "--to", to, "--model", folder(), *SHORT, *more)

    return run


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    """The digest and the scores of a run that nobody stops."""
    place = tmp_path_factory.mktemp("whole") / "p"
    settings = Settings(steps=24, evaluate_every=8, length=3)
    how = {"model_options": {"dtype": "float32"}, "baselines": False, "reporters": [], "log": lambda line: None}
    made = verb.tune(data, place, model=str(folder()), settings=settings, **how)
    return digest(made), made.record["scores"]


def stop_at(monkeypatch, step, how=signal.SIGINT):
    """Let a signal arrive in the middle of a step."""
    real = Tuner._step

    def stopped(self, chosen):
        if self.progress.step == step:
            os.kill(os.getpid(), how)
        return real(self, chosen)

    monkeypatch.setattr(Tuner, "_step", stopped)


def saved(place):
    tuned = TunedPrompt.load(place)
    return digest(tuned), tuned.record["scores"]


@pytest.mark.parametrize("step", [3, 17])
@pytest.mark.parametrize(("how", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_run_that_is_stopped_saves_the_best_says_so_and_goes_on(tmp_path, tune, whole, monkeypatch, how, code, step):
    if signal.getsignal(how) == signal.SIG_IGN:
        pytest.skip("this signal is ignored here, as under nohup, and stays so")
    with monkeypatch.context() as patch:
        stop_at(patch, step, how)
        assert tune(tmp_path / "p")[0] == code
    assert TunedPrompt.load(tmp_path / "p").record["stopped"] == "interrupted"
    assert tune(tmp_path / "p")[0] == 0
    assert saved(tmp_path / "p") == whole
    assert sorted(os.listdir(tmp_path)) == ["p", "p.run"]
    assert "checkpoint.safetensors" not in os.listdir(tmp_path / "p.run")
    steps = [json.loads(line)["step"] for line in (tmp_path / "p.run" / "log.jsonl").open() if '"step", ' in line]
    assert steps == list(range(1, 25))


def test_a_run_that_is_stopped_while_it_is_scored_goes_on(tmp_path, tune, whole, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(tune_run, "score", lambda *_: os.kill(os.getpid(), signal.SIGINT))
        assert tune(tmp_path / "p")[0] == 130
    assert "scores" not in TunedPrompt.load(tmp_path / "p").record
    assert tune(tmp_path / "p")[0] == 0
    assert saved(tmp_path / "p") == whole
    assert "checkpoint.safetensors" not in os.listdir(tmp_path / "p.run")


def test_a_run_that_ends_before_it_can_tidy_up_goes_on_and_a_finished_one_is_not_replaced(
    tmp_path, tune, whole, monkeypatch
):
    with monkeypatch.context() as patch:
        real = pathlib.Path.unlink

        def unlink(path, **how):
            if path.name == "checkpoint.safetensors":
                os.kill(os.getpid(), signal.SIGTERM)
            real(path, **how)

        patch.setattr(pathlib.Path, "unlink", unlink)
        assert tune(tmp_path / "p")[0] == 143
    assert "scores" in TunedPrompt.load(tmp_path / "p").record
    assert tune(tmp_path / "p")[0] == 0
    assert saved(tmp_path / "p") == whole
    before = (tmp_path / "p" / "cuetune.json").read_bytes()
    code, _, err = tune(tmp_path / "p")
    assert (code, "exists already" in err) == (2, True)
    assert (tmp_path / "p" / "cuetune.json").read_bytes() == before


def test_another_command_does_not_replace_what_a_stopped_one_saved(tmp_path, tune, monkeypatch):
    with monkeypatch.context() as patch:
        stop_at(patch, 17)
        assert tune(tmp_path / "p")[0] == 130
    before = (tmp_path / "p" / "cuetune.json").read_bytes()
    code, _, err = tune(tmp_path / "p", "--seed", "1")
    assert (code, err.strip().count("\n")) == (2, 0), err
    assert "other data, settings or model" in err
    assert (tmp_path / "p" / "cuetune.json").read_bytes() == before


def test_a_stopped_run_that_was_saved_before_runs_had_names_goes_on(tmp_path, tune, whole, monkeypatch):
    with monkeypatch.context() as patch:
        stop_at(patch, 17)
        assert tune(tmp_path / "p")[0] == 130
    record = tmp_path / "p" / "cuetune.json"
    values = json.loads(record.read_text())
    assert values["record"].pop("run")
    record.write_text(json.dumps(values, indent=2))
    for marker in tmp_path.rglob(".cuetune"):
        marker.unlink()
    assert tune(tmp_path / "p")[0] == 0
    assert saved(tmp_path / "p") == whole


@pytest.mark.parametrize("name", ["log.jsonl", "notes.txt", "checkpoint.safetensors"])
def test_a_users_folder_in_the_place_of_the_runs_is_refused_at_once(tmp_path, tune, name):
    (tmp_path / "p.run").mkdir()
    (tmp_path / "p.run" / name).write_text("mine")
    code, _, err = tune(tmp_path / "p")
    assert (code, err.count("\n")) == (2, 1), err
    assert "cuetune did not write it" in err
    assert [path.read_text() for path in (tmp_path / "p.run").iterdir()] == ["mine"]
    assert os.listdir(tmp_path) == ["p.run"]


def test_a_second_run_to_one_place_is_refused_at_once(tmp_path, tune, monkeypatch):
    refused = []
    real = Tuner._step

    def second():
        try:
            verb.tune([], tmp_path / "p")
        except CuetuneError as error:
            refused.append(str(error))

    def step(self, chosen):
        if self.progress.step == 2:
            other = threading.Thread(target=second)
            other.start()
            other.join()
        return real(self, chosen)

    monkeypatch.setattr(Tuner, "_step", step)
    assert tune(tmp_path / "p")[0] == 0
    assert ["at work there" in line for line in refused] == [True]


def test_a_damaged_log_costs_its_damaged_lines_alone(tmp_path, tune, whole, monkeypatch):
    with monkeypatch.context() as patch:
        stop_at(patch, 17)
        tune(tmp_path / "p")
    log = tmp_path / "p.run" / "log.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    bad = [b"{broken}\n", b"\xff\xfe}\n", b"[1]\n", b'{"step": "x"}\n', b"[" * 50_000 + b"}\n", b'{"no": 1}\n']
    log.write_bytes(b"".join([*lines[:3], *bad, *lines[3:]]))
    code, _, err = tune(tmp_path / "p")
    assert code == 0, err
    assert saved(tmp_path / "p") == whole
    steps = [json.loads(line)["step"] for line in log.open() if '"event": "step"' in line]
    assert steps == list(range(1, 25))


def bent(progress):
    yield {**progress, "step": "many"}
    yield {**progress, "step": -1}
    yield {**progress, "unknown": 1}
    yield [1, 2]
    yield None


def test_a_checkpoint_of_another_shape_is_one_line(tmp_path, tune, monkeypatch):
    from safetensors.torch import load_file, safe_open, save_file

    with monkeypatch.context() as patch:
        stop_at(patch, 17)
        tune(tmp_path / "p")
    path = tmp_path / "p.run" / "checkpoint.safetensors"
    whole = path.read_bytes()
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    tensors = load_file(path)
    cases = [(tensors, {**metadata, "progress": json.dumps(each)}) for each in bent(json.loads(metadata["progress"]))]
    cases += [(tensors, {**metadata, "progress": "["}), (tensors, {"key": metadata["key"]})]
    cases += [({**tensors, "foreign.x": tensors["optimizer.0.step"]}, metadata)]
    cases += [({**tensors, "optimizer.x.step": tensors["optimizer.0.step"]}, metadata)]
    cases += [({name: value for name, value in tensors.items() if not name.startswith("best")}, metadata)]
    cases += [({name: value[..., :1] for name, value in tensors.items() if value.dim()}, metadata)]
    for values, said in cases:
        save_file({name: value.contiguous().clone() for name, value in values.items()}, path, said)
        code, _, err = tune(tmp_path / "p")
        line = err.strip().splitlines()[-1]
        assert code == 2, (code, said, err)
        assert "checkpoint.safetensors" in line, (said, line)
        assert "Traceback" not in err
    path.write_bytes(whole)
    assert tune(tmp_path / "p")[0] == 0


def test_hidden_and_read_only_proc_cost_a_figure_and_no_run(monkeypatch):
    import psutil
    import torch

    from cuetune.cost import meter

    def refused(self, *_, **__):
        if str(self).startswith("/proc"):
            raise OSError(30, "Read-only file system", str(self))
        raise AssertionError(self)

    def hidden(*_):
        raise psutil.NoSuchProcess(1)

    monkeypatch.setattr(pathlib.Path, "write_text", refused)
    monkeypatch.setattr(pathlib.Path, "read_text", refused)
    monkeypatch.setattr(psutil, "Process", hidden)
    cpu = torch.device("cpu")
    meter.reset_peak(cpu)
    assert meter.peak_memory(cpu) > 2**20
    assert meter.settled_memory(cpu) > 2**20


def test_saving_a_checkpoint_in_a_users_folder_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(CuetuneError, match="did not write it"):
        save_checkpoint(tmp_path, "key", Progress(), {}, {}, None)
    assert os.listdir(tmp_path) == ["notes.txt"]


def test_answers_are_not_written_over_the_rows(tmp_path, cuetune, data):
    before = data.read_bytes()
    code, _, err = cuetune("predict", tmp_path / "p", data, "--to", data)
    assert (code, "choose another --to" in err) == (2, True)
    assert data.read_bytes() == before


def test_another_number_of_steps_never_drops_a_checkpoint_in_silence(tune, tmp_path, monkeypatch):
    with monkeypatch.context() as context:
        stop_at(context, 12)
        tune(tmp_path / "p")
    kept = (tmp_path / "p.run" / "checkpoint.safetensors").read_bytes()
    code, _, err = tune(tmp_path / "p", "--steps", "8", "--overwrite")
    assert code == 2
    assert "belongs to a run with other data, settings or model" in err
    assert (tmp_path / "p.run" / "checkpoint.safetensors").read_bytes() == kept
    code, out, err = tune(tmp_path / "p", "--steps", "8", "--overwrite", "--restart")
    assert code == 0, err
    assert (out + err).count("the checkpoint of an earlier run is dropped") == 1


class Finalised:
    """Ctrl-C comes while an object is finalised, where Python drops the exception."""

    def __del__(self):
        signal.raise_signal(signal.SIGINT)


def test_ctrl_c_while_an_object_is_finalised_still_ends_the_command(cuetune, monkeypatch):
    def work(*_args, **_options):
        Finalised()
        time.sleep(5)

    monkeypatch.setattr("cuetune.cli.main.app", work)
    began = time.monotonic()
    assert cuetune("models") == (130, "", "stopped.\n")
    assert time.monotonic() - began < 4


@pytest.mark.parametrize("place", ["prepare_process", "_run"])
def test_ctrl_c_before_and_behind_the_command_is_no_traceback(cuetune, monkeypatch, place):
    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(f"cuetune.cli.main.{place}", stopped)
    assert cuetune("models") == (130, "", "")
