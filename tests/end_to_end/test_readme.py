"""The README and the demo are run as they stand, on the real model."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cuetune_catalog.datasets.registry import pull_data

ROOT = Path(__file__).parents[2]
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)


def test_the_set_up_commands_exist():
    commands = [
        line.split("#")[0].split() for kind, text in BLOCKS if kind == "sh" for line in text.strip().splitlines()
    ]
    assert [command[0] for command in commands] == ["make", "make"]
    for _, target in commands:
        made = subprocess.run(["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True)
        assert made.returncode == 0, made.stderr


def run_blocks(folder, shorten) -> None:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    for kind, text in BLOCKS:
        if kind not in ("bash", "python"):
            continue
        words = shorten(text)
        command = ["bash", "-euo", "pipefail", "-c", words] if kind == "bash" else [sys.executable, "-c", words]
        ran = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
        assert ran.returncode == 0, f"{words}\n{ran.stdout}\n{ran.stderr}"


def test_every_block_of_the_readme_runs(smollm2_folder, tmp_path):
    """Every command as it stands, but for fewer steps, and of the rows a fifteenth once they are there."""
    pull = "cuetune data pull reviews-amazon --to data\n"
    few = "awk 'NR % 15 == 1' data/reviews-amazon.csv > few.csv\nmv few.csv data/reviews-amazon.csv\n"
    shorter = {"--steps 100": "--steps 2", "--sizes 64": "--sizes 16", "NR % 25 ": "NR % 101 ", pull: pull + few}
    assert all(any(words in text for _, text in BLOCKS) for words in shorter)

    def shorten(text: str) -> str:
        for words, instead in shorter.items():
            text = text.replace(words, instead)
        return text

    run_blocks(tmp_path, shorten)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_every_block_of_the_readme_runs_in_full(smollm2_folder, tmp_path):
    run_blocks(tmp_path, lambda text: text)


def test_the_demo_runs(smollm2_folder, cuetune, tmp_path, monkeypatch):
    """On a fifteenth of the rows."""

    def pull_few(*arguments):
        path = pull_data(*arguments)
        path.write_text("".join(path.read_text(encoding="utf-8").splitlines(keepends=True)[::15]), encoding="utf-8")
        return path

    monkeypatch.setattr("cuetune_catalog.datasets.registry.pull_data", pull_few)
    code, out, err = cuetune("demo", "--to", tmp_path / "amazon", "--steps", "2")
    assert code == 0, err
    for said in ("zero-shot", "few-shot (k=8)", "new sentences", "cost:", "next: cuetune predict"):
        assert said in out
