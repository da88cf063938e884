"""One console: words of others are shown as they are in lines, tables, bars, JSON, commands; nothing else prints."""

import ast
import io
import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import cuetune
from cuetune.support import bars, console
from cuetune.support.console import quoted

HOSTILE = (
    "[/b] [red]x[/red] [link=file:///etc]y[/link] :smile: 'cuetune[plots]' \\[z] \x1b]0;PWN\x07 \x9b2J \u202egnp\r"
)
SHOWN = (
    "[/b] [red]x[/red] [link=file:///etc]y[/link] :smile: 'cuetune[plots]' \\[z] \\x1b]0;PWN\\x07 \\x9b2J \\u202egnp\\r"
)


@pytest.fixture
def terminal(monkeypatch):
    """Makes standard output and standard error those of a colour terminal; returns what is written there."""

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "400")

    def opened():
        stream = Terminal()
        monkeypatch.setattr(sys, "stdout", stream)
        monkeypatch.setattr(sys, "stderr", stream)
        return stream

    return opened


def test_a_line_is_shown_as_it_is_and_stays_one_line(capsys):
    console.say(HOSTILE + "\nforged: line", " and ", console.strong(HOSTILE))
    console.note(HOSTILE)
    console.fail(HOSTILE)
    printed = capsys.readouterr()
    assert printed.out == f"{SHOWN}\\nforged: line and {SHOWN}\n"
    assert printed.err == f"{SHOWN}\nerror: {SHOWN}\n"


def test_a_table_shows_headings_title_and_cells_as_they_are(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "600")
    table = console.table("a", HOSTILE, title=HOSTILE)
    table.add_row("two\nlines", HOSTILE)
    table.add_row(HOSTILE, console.strong(HOSTILE))
    table.caption = HOSTILE
    console.show(table)
    out = capsys.readouterr().out
    assert out.count(SHOWN) == 6
    assert all(char.isprintable() or char == "\n" for char in out)
    assert not any("two" in line and "lines" in line for line in out.splitlines())


def test_the_terminals_own_colours_are_all_the_escapes_there_are(terminal):
    written = terminal()
    console.say(HOSTILE, style="green")
    console.show(console.joined(console.styled(HOSTILE, "bold")))
    assert written.getvalue() == f"\x1b[32m{SHOWN}\x1b[0m\n\x1b[1m{SHOWN}\x1b[0m\n"


@pytest.mark.parametrize("bar", [bars.step_bar, bars.row_bar, bars.download_bar])
def test_a_bar_shows_words_as_they_are_and_lines_above_it(terminal, bar):
    written, words = terminal(), HOSTILE + " {task.nothing}"
    with bar() as shown:
        shown.add_task(words, total=2, note=HOSTILE, rate=HOSTILE)
        console.note("a line above it")
    out = written.getvalue()
    assert SHOWN + " {task.nothing}" in out
    assert "a line above it\n" in out
    assert "PWN\x07" not in out
    assert "\x9b" not in out


def test_without_a_terminal_there_is_no_bar(capsys):
    with bars.step_bar() as shown:
        shown.add_task("tuning", total=2, note="")
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_json_says_the_same_in_any_encoding_without_steering_a_terminal(monkeypatch, encoding):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding))
    value = {HOSTILE: [HOSTILE, "é – 好 👩‍💻 \U000e0041 \ud800", 1.5, None]}
    console.show_json(value)
    written = raw.getvalue().decode(encoding)
    assert json.loads(written) == value
    assert all(char.isprintable() or char in "\n\u200d" for char in written)


@pytest.mark.parametrize(
    "word", ["two words", "it's", "", "$(touch x)", "`x`", "a\nb", "\x1b[31m", "é 好", "\u202e\U000e0041", "-x\\n'"]
)
def test_a_quoted_word_is_the_same_word_for_a_shell(word):
    assert all(char.isprintable() for char in quoted(word))
    said = subprocess.run(["bash", "-c", f"LC_ALL=C.UTF-8; printf %s {quoted(word)}"], capture_output=True).stdout
    assert said.decode() == word


def test_a_path_is_never_taken_for_an_option_and_keeps_its_bytes():
    assert quoted(Path("-rf")) == "./-rf"
    said = subprocess.run(["bash", "-c", f"printf %s {quoted(Path('a' + chr(0xDCFF)))}"], capture_output=True).stdout
    assert said == b"a\xff"
    assert shlex.split(quoted(Path("our prompts/x"))) == ["our prompts/x"]


def test_nobody_who_answers_is_an_empty_answer(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    assert console.ask("sure?\x1b") == ""
    assert capsys.readouterr().out == "sure?\\x1b "


PRINTERS = {"support/console.py", "support/bars.py", "support/standard_output.py"}
STREAMS = {"stdout", "stderr", "__stdout__", "__stderr__", "displayhook"}
TYPER = {"echo", "secho", "prompt", "confirm", "launch", "clear", "pause", "progressbar", "get_text_stream"}


def printing(tree):
    """Whatever in a syntax tree could print, as (line, what)."""
    for node in ast.walk(tree):
        found = None
        if isinstance(node, ast.Name) and node.id == "print":
            found = node.id
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"input", "breakpoint"}:
            found = node.func.id
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [each.name for each in node.names]
            loud = {"rich", "click", "tqdm", "pprint", "getpass", "curses"}
            found = next((name for name in names if name.split(".")[0] in loud), None)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            pair = node.value.id, node.attr
            if (pair[0] == "sys" and pair[1] in STREAMS) or (pair[0] == "typer" and pair[1] in TYPER):
                found = ".".join(pair)
            if pair[0] == "traceback" and pair[1].startswith("print"):
                found = ".".join(pair)
        if found:
            yield node.lineno, found


def test_nothing_else_prints():
    root = Path(cuetune.__file__).parent
    files = [path for path in root.rglob("*.py") if path.relative_to(root).as_posix() not in PRINTERS]
    assert len(files) > 200
    found = [f"{path.relative_to(root)}:{line}: {what}" for path in files for line, what in printing(_tree(path))]
    assert found == []


def test_the_walk_finds_what_prints():
    code = (
        "print(1)\nimport rich.table\nfrom rich import print as p\nimport sys; sys.stdout.write('')\n"
        "typer.echo('')\nsay = print\ntraceback.print_exc()\ninput()"
    )
    assert {line for line, _ in printing(ast.parse(code))} == {1, 2, 3, 4, 5, 6, 7, 8}


def _tree(path):
    return ast.parse(path.read_text(encoding="utf-8"))
