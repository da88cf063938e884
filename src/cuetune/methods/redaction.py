"""Keys that must never be written: whoever reads one registers it, and whatever is kept or said is redacted.

A key is found however a reply may spell it: as it is, escaped as in JSON (`\\u002d`, `\\/`), in a URL or in HTML.
"""

import re
from typing import Any

SHOWN = "[key]"
_patterns: dict[str, re.Pattern[str]] = {}


def keep_secret(key: str) -> None:
    """From now on `redacted` takes this key out."""
    if key:
        _patterns[key] = re.compile("".join(map(_spellings, key)))


def redacted(value: Any) -> Any:
    """The same text, or value as JSON has it, with every registered key replaced."""
    if isinstance(value, str):
        for pattern in _patterns.values():
            value = pattern.sub(SHOWN, value)
    elif isinstance(value, dict):
        value = {redacted(name): redacted(each) for name, each in value.items()}
    elif isinstance(value, list | tuple):
        value = [redacted(each) for each in value]
    return value


def _spellings(char: str) -> str:
    """A pattern for one character: itself, backslashes before it or not, or its number as JSON, URLs and HTML write."""
    number = ord(char)
    code = f"(?i:{number:02x})"
    return rf"(?:\\*{re.escape(char)}|\\+u00{code}|%{code}|&#0*{number};|&#[xX]0*{code};)"
