"""`cuetune show`: everything that is known of a prompt, nothing that is not, and no control of the terminal."""

import json
import shlex
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from cuetune.backbones.identity import BackboneIdentity
from cuetune.cli.show import show
from cuetune.data.task import Task
from cuetune.errors import CuetuneError
from cuetune.library.tuned import TunedPrompt
from cuetune.prompts import SoftPrompt

IDENTITY = BackboneIdentity("tiny-llama", "v1.2", "ab" * 32, "cd" * 32, "llama", 6, 2, 2)
RECORD = {
    "data": {"source": "reviews.csv", "fingerprint": "ef" * 32, "rows": {"train": 1200, "test": 45}},
    "settings": {"init": "text", "init_text": None, "learning_rate": 0.0125},
    "seed": 7,
    "created": "2026-01-02",
    "scored_rows": 45,
    "scores": {
        "tuned": {"accuracy": {"value": 0.9, "low": 0.8, "high": 0.95}},
        "zero-shot": {"accuracy": {"value": 0.5, "low": 0.4, "high": 0.6}},
    },
    "cost": {
        "seconds": 83.25,
        "steps": 5,
        "tokens": 61000,
        "tflop": 12.5,
        "peak_memory_bytes": 3 * 2**30,
        "device": "CPU, 2 threads",
        "stored_bytes": 120,
        "trained_parameters": 30,
    },
}
TASK = Task(template="Review: {text}\nSentiment:", labels=("neg", "pos"), label_words=(" bad", " good"))
MADE = TunedPrompt(SoftPrompt(torch.zeros(5, 6)), TASK, IDENTITY, RECORD)


def test_the_page_says_everything_that_is_known(cuetune, tmp_path):
    folder = MADE.save(tmp_path / f"my prompt, {'long ' * 30}indeed")  # longer than a line of the terminal
    code, out, err = cuetune("show", folder)
    assert (code, err) == (0, "")
    flat = " ".join(out.split())
    for said in (
        "a soft prompt for tiny-llama: 5 virtual tokens at the embedding layer; 30 learned numbers",
        "width 6, revision v1.2, weights abababababab, tokenizer cdcdcdcdcdcd",
        "'neg' scored as ' bad'",
        repr(TASK.template),
        "tuned on 1,200 rows of reviews.csv, 2026-01-02, seed 7",
        "learning rate │ 0.0125",
        "tuned │ 0.900 (0.800–0.950)",
        "zero-shot │ 0.500 (0.400–0.600)",
        "cost: 83 s for 5 steps (61,000 tokens, 12.5 TFLOP) on CPU, 2 threads, peak memory 3,072 MiB",
        f"adapter_model.safetensors {(folder / 'adapter_model.safetensors').stat().st_size:,}",
        "README.md is its card",
    ):
        assert said in flat, said
    assert "None" not in out
    # The next commands can be copied: on a line each, and quoted for a shell.
    following = [shlex.split(line.removeprefix("next:")) for line in out.splitlines() if "cuetune " in line]
    assert following == [
        ["cuetune", "predict", str(folder), "NEW_ROWS.csv", "--to", "answers.csv"],
        ["cuetune", "evaluate", str(folder), "LABELLED_ROWS.csv"],
    ]


def test_json_is_the_whole_prompt(cuetune, tmp_path):
    folder = MADE.save(tmp_path / "p")
    code, out, _ = cuetune("show", folder, "--json")
    assert code == 0
    read = json.loads(out)
    assert (read["kind"], read["virtual_tokens"], read["learned_numbers"], read["origin"]) == ("soft", 5, 30, "cuetune")
    assert (read["task"], read["backbone"], read["record"]) == (TASK.to_dict(), IDENTITY.to_dict(), RECORD)
    assert read["files"] == {path.name: path.stat().st_size for path in folder.iterdir()}


@pytest.mark.parametrize("left_out", [*RECORD, "everything"])
def test_what_is_not_known_is_left_out(cuetune, tmp_path, left_out):
    gone = {"scored_rows": {"scored_rows", "scores"}, "everything": {*RECORD}}.get(left_out, {left_out})
    record = {key: value for key, value in RECORD.items() if key not in gone}
    code, out, err = cuetune("show", replace(MADE, record=record).save(tmp_path / "p"))
    assert (code, err) == (0, "")
    assert ("95 % confidence" in out) == ("scores" not in gone)
    assert ("TFLOP" in out) == ("cost" not in gone)
    assert ("learning rate" in out) == ("settings" not in gone)
    assert "None" not in out


def test_a_folder_of_peft_says_what_it_lacks(cuetune, tmp_path):
    folder = MADE.save(tmp_path / "p")
    (folder / "cuetune.json").unlink()
    (folder / "README.md").unlink()
    code, out, _ = cuetune("show", folder)
    assert code == 0
    assert "PEFT, which does not record the task" in out
    assert "its card" not in out


NASTY = "[/bold] [red]x[/red] \x1b[31m \x07 \x9b2J [link=file:///etc]y[/link] \\[z] [/]"


def test_strangers_words_steer_neither_rich_nor_the_terminal(cuetune, tmp_path):
    task = Task(template=NASTY + "{text}", labels=(NASTY, "b"), instruction=NASTY)
    record = {
        **RECORD,
        "data": {**RECORD["data"], "source": NASTY},
        "settings": {NASTY: NASTY, "nested": [NASTY, {NASTY: NASTY}]},
        "scores": {NASTY: {NASTY: RECORD["scores"]["tuned"]["accuracy"]}},
        "cost": {**RECORD["cost"], "device": NASTY},
        "created": NASTY,
    }
    made = TunedPrompt(MADE.prompt, task, replace(IDENTITY, name=NASTY.replace("/", ""), revision=NASTY), record)
    code, out, err = cuetune("show", made.save(tmp_path / "p"))
    assert (code, err) == (0, "")
    assert all(char.isprintable() or char == "\n" for char in out)
    assert out.count("[red]x[/red]") >= 5  # shown as written


def test_faults_are_one_line(cuetune, tmp_path):
    with pytest.raises(CuetuneError, match="no such folder"):
        show(tmp_path / "nowhere")
    folder = MADE.save(tmp_path / "p")
    (folder / "cuetune.json").write_text("{")
    code, out, err = cuetune("show", folder)
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {folder / 'cuetune.json'}: not JSON (line 1")
    assert err.count("\n") == 1


def test_help_starts_without_torch():
    """Start-up stays fast: nothing heavy is imported until a folder is opened."""
    code = "import sys, cuetune.cli.show; sys.exit(any(name in sys.modules for name in ('torch', 'transformers')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
