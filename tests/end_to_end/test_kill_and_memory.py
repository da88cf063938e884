"""Processes of their own: killed without warning, measured from outside."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from safetensors.torch import load_file

import cuetune as package
from tiny import backbone, folder, rows, write_csv

COMMAND = [sys.executable, "-c", "from cuetune.cli.main import main; main()"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}


def start(*words) -> subprocess.Popen:
    return subprocess.Popen(
        [*COMMAND, *map(str, words)], env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def finish(*words) -> None:
    process = start(*words)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors.decode()


def wait_for(condition, process, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.01)


def test_kill_9_in_training_and_the_same_command_goes_on_to_the_same_numbers(tmp_path):
    data = write_csv(tmp_path / "rows.csv", rows(80))
    words = (
        "tune",
        data,
        "--model",
        folder(),
        "--dtype",
        "float32",
        "--steps",
        "300",
        "--evaluate-every",
        "20",
        "--patience",
        "100",
        "--length",
        "3",
        "--shots",
        "1",
    )
    finish(*words, "--to", tmp_path / "whole")
    log = tmp_path / "cut.run" / "log.jsonl"
    process = start(*words, "--to", tmp_path / "cut")
    wait_for(lambda: log.exists() and log.read_text().count("\n") > 60, process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "cut").exists()
    assert (tmp_path / "cut.run" / "checkpoint.safetensors").exists()
    finish(*words, "--to", tmp_path / "cut")
    whole, cut = (load_file(tmp_path / name / "adapter_model.safetensors") for name in ("whole", "cut"))
    assert (whole["prompt_embeddings"] == cut["prompt_embeddings"]).all()
    scores = [
        json.loads((tmp_path / name / "cuetune.json").read_text())["record"]["scores"] for name in ("whole", "cut")
    ]
    assert scores[0] == scores[1]


@pytest.fixture(scope="module")
def prompt(tmp_path_factory):
    here = tmp_path_factory.mktemp("prompt")
    settings = package.Settings(steps=2, evaluate_every=2, batch_size=4, length=3)
    package.tune(
        rows(40), here / "p", model=backbone(), settings=settings, reporters=[], log=lambda line: None, baselines=False
    )
    return here / "p"


def test_kill_9_in_predict_leaves_earlier_answers_whole(tmp_path, prompt):
    data = write_csv(tmp_path / "rows.csv", rows(30_000))
    out = tmp_path / "answers.csv"
    out.write_text("earlier work")
    process = start("predict", prompt, data, "--to", out, "--model", folder())
    wait_for(lambda: any(p.name.endswith(".partial") and p.stat().st_size for p in tmp_path.iterdir()), process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert out.read_text() == "earlier work"


MEASURE = """
import sys
from cuetune.cli.main import main
try:
    main()
except SystemExit as ended:
    assert not ended.code, ended.code
line = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print("peak", line.split()[1], file=sys.stderr)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_60_000_rows_take_no_more_memory_than_2_000(tmp_path, prompt):
    """Thirty times the rows, at most a tenth more peak memory: less than what one row takes in Python, for each."""
    peaks = []
    for count in (2_000, 60_000):
        data = write_csv(tmp_path / f"{count}.csv", rows(count))
        words = ["predict", prompt, data, "--to", tmp_path / "out.csv", "--model", folder(), "--dtype", "float32"]
        run = subprocess.run(
            [sys.executable, "-c", MEASURE, *map(str, words)],
            env=ENVIRONMENT,
            capture_output=True,
            text=True,
            check=True,
        )
        peaks.append(int(run.stderr.split("peak")[1].split()[0]))
        assert sum(1 for _ in (tmp_path / "out.csv").open()) == count + 1
    assert peaks[1] <= 1.1 * peaks[0], peaks
