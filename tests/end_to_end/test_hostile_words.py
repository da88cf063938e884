"""Texts, labels, columns, names and paths that hold markup and control characters, through every verb that prints them.

What is printed, and what is written as Markdown, shows them as they are and steers no terminal; no verb stumbles.
"""

import csv
import os
import re
import subprocess
import sys

import numpy as np
import pytest

from cuetune.comparison.data_advantage import plot_curves
from cuetune.methods.continual.plots import draw_matrices
from cuetune.support.figures import words
from tiny import folder, rows, write_csv

MARKUP = "[/b] [red]x[/red] [link=file:///etc]y[/link] :smile: $\\frac{$ |`<b>*_#"
CONTROL = "\x1b]0;PWN\x07 \x9b2J \u202egnp\u2066 \x08\x7f"
HOSTILE = f"{MARKUP} {CONTROL}"
NAME = HOSTILE.replace("/", "÷")  # for files and folders
SHOWN = "\\x1b]0;PWN\\x07 \\x9b2J \\u202egnp\\u2066 \\x08\\x7f"
LABELS = {"pos": f"pos {HOSTILE}", "neg": f"neg {HOSTILE}"}
MODEL = ("--model", folder(), "--dtype", "float32")
FEW = ("--steps", 2, "--batch-size", 4, "--length", 2, "--evaluate-every", 1)
WORDS = ("--label-words", "good", "--label-words", "bad")


def harmless(text):
    """Whether a text steers no terminal; colours are not printed in tests."""
    return all(char.isprintable() or char == "\n" for char in text)


def hostile_rows(count, seed=0):
    made = rows(count, seed)
    return [{f"text {HOSTILE}": f"{row['text']} {HOSTILE}\rforged", "label": LABELS[row["label"]]} for row in made]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with rows, and a prompt that is tuned on them by the first test."""
    here = tmp_path_factory.mktemp("hostile") / NAME
    here.mkdir()
    write_csv(here / f"rows {NAME}.csv", hostile_rows(40))
    return here


@pytest.fixture
def run(cuetune, monkeypatch):
    """Runs a verb, and holds all that it prints to the rule. Gives what it printed."""
    monkeypatch.setenv("COLUMNS", "2000")

    def ran(*words, ends=0):
        code, out, err = cuetune(*words)
        assert code == ends, err
        for text in (out, err):
            assert harmless(text), [char for char in text if not char.isprintable() and char != "\n"]
            assert "Traceback" not in text
        return out + err

    return ran


def data_of(place):
    return place / f"rows {NAME}.csv"


def prompt_of(place):
    return place / f"prompt {NAME}"


def test_check(run, place):
    out = run("check", data_of(place), "--text", f"text {HOSTILE}", *MODEL[:2])
    assert SHOWN in out
    assert MARKUP.split(" ", 1)[0] in out
    assert "[link=file:///etc]y[/link] :smile:" in out
    run("check", data_of(place), "--text", f"text {HOSTILE}", "--json", *MODEL[:2])


def test_tune_show_and_the_card(run, place):
    data, prompt = data_of(place), prompt_of(place)
    named = ("--text", f"text {HOSTILE}", "--instruction", HOSTILE, "--template", f"{{text}} {MARKUP.replace('{', '')}")
    out = run("tune", data, "--to", prompt, *named, *FEW, *WORDS, *MODEL)
    assert SHOWN in out
    assert "[link=file:///etc]" in out
    following = next(line.removeprefix("next: ") for line in out.splitlines() if line.startswith("next: "))
    said = subprocess.run(["bash", "-c", f"printf '%s\\n' {following}"], capture_output=True).stdout.decode()
    assert str(prompt) in said  # the command that is proposed is about this folder
    out = run("show", prompt)
    assert out.count(SHOWN) >= 3
    assert run("show", prompt, "--json")
    card = (prompt / "README.md").read_text()
    assert harmless(card.replace("\t", ""))
    assert SHOWN.split()[0] in card
    prose = re.sub(r"^(`{3,})\w+\n.*?\n\1$", "", card, flags=re.MULTILINE | re.DOTALL)
    assert "[/b]" not in re.sub(r"`[^`\n]*`", "", prose.split("---", 2)[2]).replace("\\[/b\\]", "")


def test_predict_and_evaluate(run, place, tmp_path):
    data, prompt = data_of(place), prompt_of(place)
    out = run("predict", prompt, "--input", HOSTILE, "--input", "two\nlines", *MODEL)
    assert SHOWN in out
    answers = tmp_path / f"{NAME}.csv"
    assert SHOWN in run("predict", prompt, data, "--to", answers, *MODEL)
    with answers.open(newline="") as stream:
        assert {row["predicted"] for row in csv.DictReader(stream)} <= set(LABELS.values())  # files hold the words
    assert run("evaluate", prompt, data, *MODEL).count(SHOWN) >= 4
    run("evaluate", prompt, data, "--json", "--no-baselines", *MODEL)


def test_fix(run, place):
    wrong = write_csv(place / f"wrong {NAME}.csv", hostile_rows(6, 5))
    out = run("fix", prompt_of(place), wrong, "--to", place / f"fixed {NAME}", "--steps", 1, *MODEL)
    assert SHOWN in out


def test_library(run, place):
    library = place / f"library {NAME}"
    assert SHOWN in run("library", "add", library, prompt_of(place), "--name", "mine")
    assert SHOWN in run("library", "list", library)
    assert SHOWN in run("library", "search", library, "mine")
    assert SHOWN in run("library", "search", library, HOSTILE, "--label", HOSTILE, "--kind", MARKUP)
    assert SHOWN in run("library", "show", library, "mine")
    assert "no prompt" in run("library", "show", library, HOSTILE, ends=2)


def test_search(run, place):
    options = [word for each in ("steps=1", "candidates=2", "batch_size=4") for word in ("--method-option", each)]
    named = ("--text", f"text {HOSTILE}", "--instruction", HOSTILE, *WORDS)
    out = run("search", data_of(place), "--to", place / f"words {NAME}", *options, *named, *MODEL)
    assert SHOWN in out


def test_compare_and_its_markdown(run, place):
    more = ("--methods", "zero-shot,linear-probe", "--sizes", 8, "--seeds", 1, "--no-search", "--watts", 40)
    named = ("--text", f"text {HOSTILE}", *WORDS)
    to = place / f"compared {NAME}"
    assert SHOWN in run("compare", data_of(place), "--to", to, *more, *named, *MODEL)
    table = (to / "table.md").read_text()
    assert harmless(table)
    assert "[link=" not in table.replace("\\[link=", "")


def test_learn_and_its_plot(run, place):
    for number, name in enumerate(("one", "two")):
        write_csv(place / f"{name}.csv", hostile_rows(30, number))
    stream = place / f"STREAM {NAME}.yaml"
    stream.write_text("tasks:\n" + "".join(f"  - name: {name}\n    data: {name}.csv\n" for name in ("one", "two")))
    to = place / f"learned {NAME}"
    named = ("--method", "simple-cil", "--to", to, *MODEL)
    assert run("learn", stream, *named).count(SHOWN) >= 3
    assert (to / "accuracy.png").exists()
    stream.write_text(stream.read_text().replace("name: one", f"name: 'one {MARKUP} \\x1b'"))
    assert run("learn", stream, *named, ends=2).count("\n") == 1


@pytest.mark.filterwarnings("error")
def test_plots_draw_words_as_they_are(tmp_path):
    matrix = np.array([[0.5, np.nan], [0.4, 0.6]])
    draw_matrices(tmp_path / "a.png", {"$x$": [matrix]}, [HOSTILE, "$x$ 好"])
    scores = [[0.5, 0.6], [0.7, 0.8]]
    plot_curves(tmp_path / "b.png", [8, 16], scores, scores, name_a=HOSTILE, name_b="$x$", metric="$\\frac{$$")
    assert words("$x$ \\ \x1b") == "\\$x\\$ \\ \\x1b"


@pytest.mark.parametrize(
    "words",
    [
        ("models", "pull", HOSTILE),
        ("data", "pull", HOSTILE),
        ("check", HOSTILE),
        ("show", HOSTILE),
        ("predict", HOSTILE, "--input", "x"),
        ("tune", HOSTILE, "--to", "x"),
        ("tune", "x.csv", "--to", "x", "--steps", HOSTILE),
        ("tune", "x.csv", "--to", "x", "--config", HOSTILE),
        ("library", "list", HOSTILE),
        ("learn", HOSTILE, "--to", "x"),
        ("cost", "--params", HOSTILE),
        ("cost", "--gpu", HOSTILE),
        (HOSTILE,),
        ("tune", f"--{HOSTILE}"),
        ("check", "x.csv", "--columns", HOSTILE),
    ],
    ids=lambda words: " ".join(words)[:20].replace(HOSTILE[:5], "…"),
)
def test_mistakes_are_one_line(run, tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CUETUNE_CACHE", str(tmp_path / "cache"))
    assert run(*words, ends=2).count("\n") == 1


def test_bytes_that_are_no_text_on_the_command_line_are_one_line():
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", "from cuetune.cli.main import main; main()", "show", b"/nowhere/\xff\xfe\x1b[31m"]
    ran = subprocess.run(command, env=environment, capture_output=True)
    assert (ran.returncode, ran.stdout) == (2, b"")
    assert ran.stderr.startswith(b"error: ")
    assert harmless(ran.stderr.decode())
    assert ran.stderr.count(b"\n") == 1
