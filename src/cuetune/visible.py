"""Words of others, safe to show: characters that steer a terminal or hide text become escapes that can be read."""

import re
from collections.abc import Callable

# Control characters, lone surrogates, line separators, and format characters that reorder or hide text. Joiners stay
# inside words and emoji of scripts that need them; beside ASCII they only hide.
_FORMAT = "\xad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"
_HIDDEN = re.compile(
    f"[\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029{_FORMAT}]"
    "|(?<![^\x00-\x7f])[\u200c\u200d]|[\u200c\u200d](?![^\x00-\x7f])"
)


def escape(char: str) -> str:
    """A character as Python and JSON spell it."""
    return char.encode("unicode_escape").decode("ascii")


def visible(text: str, keep: str = "", spell: Callable[[str], str] = escape) -> str:
    r"""The same text with every hidden or controlling character spelled out, such as `\x1b` or `\u202e`.

    keep: control characters that the layout allows, such as "\n" in the cell of a table.
    """
    return _HIDDEN.sub(lambda found: found[0] if found[0] in keep else spell(found[0]), text)


def one_line(text: str) -> str:
    """Strangers' words on one line without control characters: they are shown as escapes and steer no terminal."""
    flat = " ".join(text.split())
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in flat)
