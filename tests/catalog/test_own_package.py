"""The example of docs/catalog.md: a package of somebody else's, installed, adds a data set and a model."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import tiny

GUIDE = (Path(__file__).parents[2] / "docs" / "catalog.md").read_text(encoding="utf-8")


def block(kind, number=0):
    return re.findall(rf"```{kind}\n(.*?)```", GUIDE, re.DOTALL)[number]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder that the example's package is installed to."""
    source, site = tmp_path_factory.mktemp("shop"), tmp_path_factory.mktemp("site")
    (source / "pyproject.toml").write_text(block("toml"))
    (source / "shop_tickets.py").write_text(block("python"))
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    ran = subprocess.run([*command, "--target", site, source], capture_output=True, text=True)
    if "No module named" in ran.stderr:
        pytest.skip("no pip or setuptools here")
    assert ran.returncode == 0, ran.stderr
    return site


def test_example_is_short():
    assert len((block("toml") + block("python")).splitlines()) <= 60


def test_commands_of_the_example_run(site, tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "writer").symlink_to(tiny.folder("llama"))
    paths = os.pathsep.join([str(site), *(path for path in sys.path if path)])
    environment = {**os.environ, "PYTHONPATH": paths, "SHOP_MODELS": str(tmp_path / "models")}
    for line in block("bash").splitlines():
        words = line.split()
        words += ["--steps", "2", "--length", "2", "--no-baselines"] if words[1] == "tune" else []
        command = [sys.executable, "-m", *words]
        ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert ran.returncode == 0, (line, ran.stderr)
    assert "held-out rows" in ran.stdout
    assert "payment" in ran.stdout
    saved = json.loads((tmp_path / "prompts" / "topics" / "cuetune.json").read_text())
    assert saved["backbone"]["name"] == "shop-writer"
    assert saved["record"]["data"]["source"] == "shop-tickets"
