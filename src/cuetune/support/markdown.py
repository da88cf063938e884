"""Users' words inside Markdown: tables, code and plain text that they cannot break."""

import re
from typing import Any

from cuetune.visible import one_line
from cuetune.visible import visible as escaped


def table(head: tuple[str, ...], rows: list[Any]) -> str:
    """A table of cells that are Markdown already."""
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def plain(text: str) -> str:
    """Users' words inside Markdown: on one line, and nothing in them is markup."""
    return "".join("\\" + char if char in "\\`|*_[]<>#~$&" else char for char in one_line(text))


def code(text: str) -> str:
    """Users' words as code, also inside a table: fenced by more backticks than they hold."""
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    pad = " " if "`" in text else ""
    return f"{fence}{pad}{one_line(text)}{pad}{fence}".replace("|", "\\|")


def fenced(text: str, language: str) -> str:
    """A block of code that its own content cannot end."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    shown = escaped(text, keep="\n\t")
    return f"{fence}{language}\n{shown}\n{fence}"
