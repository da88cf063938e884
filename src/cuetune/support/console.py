"""The one place that prints: whatever cuetune shows on standard output or standard error goes through here.

Words of others (texts, labels, paths, errors, names of models) are shown as they are: never as markup, and with their
control characters made visible. Every output does: see `standard_output`.
"""

import json
import shlex
import sys
from pathlib import Path
from typing import Any

from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from cuetune.support.standard_output import Output, output
from cuetune.visible import visible

Part = str | Text  # words of others are a str, or go through `styled`


class PlainConsole(Console):
    """rich's console without markup, emoji codes and highlighting; texts are made visible before they are laid out."""

    def __init__(self, stream: Output) -> None:
        super().__init__(file=stream, markup=False, emoji=False, highlight=False)  # type: ignore[arg-type]

    def render_str(self, text: str, **how: Any) -> Text:
        return super().render_str(visible(text, keep="\n\t"), **how)


_consoles: dict[bool, tuple[Any, PlainConsole]] = {}


def target(stderr: bool = False) -> PlainConsole:
    """The console over standard output or standard error as they are now; the same one for as long as they stay."""
    stream = sys.stderr if stderr else sys.stdout
    stream = getattr(stream, "rich_proxied_file", stream)  # a bar stands in for the stream while it is shown
    known = _consoles.get(stderr)
    if known is None or known[0] is not stream:
        known = _consoles[stderr] = stream, PlainConsole(output(stream, required=not stderr))
    return known[1]


def say(*parts: Part, style: str = "") -> None:
    """One line on standard output, never broken: paths and commands in it can be copied."""
    target().print(joined(*parts, style=style), soft_wrap=True)


def note(*parts: Part, style: str = "") -> None:
    """One line on standard error, above the bar if one is shown."""
    target(stderr=True).print(joined(*parts, style=style), soft_wrap=True)


def fail(reason: object) -> None:
    """The one line for a mistake."""
    note(f"error: {reason}", style="red")


def show(what: RenderableType) -> None:
    """A table on standard output, fitted to its width."""
    target().print(what)


def show_json(value: Any) -> None:
    """JSON on standard output. Hidden characters and those that the output lacks are written as JSON escapes."""
    stream = target().file
    ascii_only = not (getattr(stream, "encoding", None) or "utf-8").lower().startswith("utf")
    text = json.dumps(value, indent=2, ensure_ascii=ascii_only)
    stream.write(visible(text, keep="\n", spell=lambda char: json.dumps(char)[1:-1]) + "\n")
    stream.flush()


def ask(question: str) -> str:
    """What a person answers to a question; "" where nobody does."""
    try:
        return input(f"{visible(question)} ").strip()
    except EOFError:
        return ""


def joined(*parts: Part, style: str = "") -> Text:
    """Parts as one line; only a part that was made by `styled` may hold line ends."""
    line = Text(style=style)
    for part in parts:
        line.append(visible(part, keep="\t") if isinstance(part, str) else part)
    return line


def styled(text: str, style: str) -> Text:
    """A part of a line, or a cell, in a style of rich."""
    return Text(visible(text, keep="\n\t"), style=style)


def strong(text: object) -> Text:
    """What should stand out: a folder, the best score."""
    return styled(str(text), "bold")


def width(text: str) -> int:
    """How many columns of a terminal a text takes."""
    return cell_len(text)


def table(*headings: str, title: str | None = None) -> Table:
    """An empty table (of rich). Cells that are str are shown as they are."""
    return Table(*headings, title=title, title_justify="left")


def quoted(word: object) -> str:
    r"""A word for a shell. What would be hidden is spelled as bash and zsh read it: $'\x1b'."""
    text = f"./{word}" if isinstance(word, Path) and str(word).startswith("-") else str(word)
    if visible(text) == text:
        return shlex.quote(text)
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"$'{visible(escaped, spell=_shell_escape)}'"


def _shell_escape(char: str) -> str:
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:  # a byte of a file name that is not UTF-8
        code -= 0xDC00
    elif code > 0x7F:
        return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
    return f"\\x{code:02x}"
