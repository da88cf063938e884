"""The benchmarks run from end to end on a tiny model; what they measure there means nothing."""

import subprocess
import sys
from pathlib import Path

import pytest

from tiny import folder, rows, write_csv

SCRIPTS = Path(__file__).parents[1] / "benchmarks"


@pytest.mark.parametrize(("script", "said"), [("training.py", "share of ceiling"), ("inference.py", "64 of 64")])
def test_a_quick_run_prints_its_table(script, said):
    pytest.importorskip("peft")
    more = ["--lengths", "4"] if script == "training.py" else ["--length", "4"]
    command = [sys.executable, SCRIPTS / script, "--quick", "--model", folder(), "--dtypes", "float32", *more]
    ran = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert said in ran.stdout


def test_late_prompts_are_timed_and_scored(tmp_path):
    data = write_csv(tmp_path / "rows.csv", rows(80))
    command = [
        sys.executable,
        SCRIPTS / "late.py",
        "--quick",
        "--model",
        folder(),
        "--dtype",
        "float32",
        "--data",
        data,
    ]
    ran = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert "| layer 2 | " in ran.stdout


def test_prompts_in_words_are_held_against_plain_ones(tmp_path):
    data = write_csv(tmp_path / "rows.csv", rows(80))
    command = [sys.executable, SCRIPTS / "words.py", "--quick", "--model", folder(), "--data", data, "--to", tmp_path]
    command += ["--dtype", "float32", "--methods", "zero-shot", "calibrated zero-shot", "few-shot", "greedy", "pez"]
    ran = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert "| pez | " in (tmp_path / "words.md").read_text()


def test_the_walk_is_held_against_the_whole_tree():
    command = [sys.executable, SCRIPTS / "many_labels.py", "--quick", "--model", folder(), "--dtype", "float32"]
    ran = subprocess.run([*map(str, command), "--parts", "accuracy"], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert "| whole tree | " in ran.stdout
