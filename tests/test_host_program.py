"""A program that uses cuetune from Python is left as it was; the command line changes its own process only."""

import csv
import json
import os
import subprocess
import sys

import pytest

from cuetune.cli.process import VARIABLES
from cuetune.data.formats.long_cells import LongCells
from cuetune.data.reading import read_rows
from tiny import folder, rows, write_csv

CLEAN = {name: value for name, value in os.environ.items() if name not in VARIABLES}
STATE = """
import csv, json, locale, logging, os, sys, warnings, signal
def state():
    import datasets, transformers, huggingface_hub
    from transformers.utils import logging as its
    return {
        "environment": dict(os.environ), "limit": csv.field_size_limit(),
        "transformers": its.get_verbosity(), "bars": its.is_progress_bar_enabled(),
        "hub bars": huggingface_hub.utils.are_progress_bars_disabled(),
        "datasets": datasets.utils.logging.get_verbosity(), "its bars": datasets.are_progress_bars_disabled(),
        "root": (logging.root.level, len(logging.root.handlers)), "codecarbon": logging.getLogger("codecarbon").level,
        "streams": str((type(sys.stdout), type(sys.stderr))), "hooks": str((sys.excepthook, sys.displayhook)),
        "locale": locale.setlocale(locale.LC_ALL), "limit of ints": sys.get_int_max_str_digits(),
        "depth": sys.getrecursionlimit(), "signals": str([signal.getsignal(s) for s in (2, 13, 15)]),
    }
"""
SCRIPT = (
    STATE
    + """
import torch, PIL.Image, codecarbon
import transformers.models.llama.modeling_llama, sklearn  # their own doing is not ours
before = state()
import cuetune
data, model, place = sys.argv[1:]
cuetune.tune(data, place, model=model, settings=cuetune.Settings(steps=1, batch_size=2, length=2), baselines=False)
list(cuetune.predict(place, [{"text": "good"}], model=model))
cuetune.check(data)
from cuetune.cost.energy import _tracker, _stopped
_stopped(_tracker("DEU", torch.device("cpu")))
after = state()
print("CHANGED", {name: (before[name], after[name]) for name in before if before[name] != after[name]})
"""
)


def test_tuning_and_answering_from_python_changes_nothing_of_the_program(tmp_path):
    environment = {**CLEAN, "PYTHONPATH": os.pathsep.join(sys.path), "HF_HUB_OFFLINE": "1"}
    words = [write_csv(tmp_path / "rows.csv", rows(20)), folder(), tmp_path / "prompt"]
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT, *map(str, words)], env=environment, capture_output=True, text=True, cwd=tmp_path
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert ran.stdout.splitlines()[-1] == "CHANGED {}"


def test_the_command_line_keeps_other_libraries_quiet_unless_the_user_says_otherwise():
    code = (
        "import sys, json, os\nfrom cuetune.cli.main import main\nsys.argv = ['cuetune', '--version']\n"
        "try: main()\nexcept SystemExit: pass\n"
        "from transformers.utils import logging as its\nimport datasets\n"
        "print(json.dumps([its.get_verbosity(), its.is_progress_bar_enabled(), datasets.are_progress_bars_disabled(), "
        "os.environ['LRU_CACHE_CAPACITY']]))"
    )
    environment = {**CLEAN, "PYTHONPATH": os.pathsep.join(sys.path), "LRU_CACHE_CAPACITY": "99"}
    ran = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert json.loads(ran.stdout.splitlines()[-1]) == [40, False, True, "99"]


def test_a_cell_of_any_length_is_read_and_the_programs_own_limit_stands(tmp_path):
    long = "word " * 60_000
    path = tmp_path / "long.csv"
    path.write_text(f"text,label\n{long},a\nshort,b\n")
    before = csv.field_size_limit(1000)
    try:
        seen = []
        for row in read_rows(path):
            seen.append(len(row.values["text"]))
            assert csv.field_size_limit() == 1000
        assert seen == [len(long), 5]
        with pytest.raises(csv.Error):
            next(csv.reader([long]))
    finally:
        csv.field_size_limit(before)


def test_the_limit_stands_after_a_row_that_is_broken():
    before = csv.field_size_limit()
    with pytest.raises(csv.Error):
        list(LongCells(csv.reader(['"a" b'], strict=True)))
    assert csv.field_size_limit() == before
