"""What prompts in a library are called, and how one is found again by name and version."""

import difflib
import re
import unicodedata
from collections.abc import Sequence

from cuetune.errors import CuetuneError
from cuetune.library.entry import VERSION_LENGTH, Entry
from cuetune.visible import one_line

INDEX = "index.json"  # lies beside the prompts, so none is called that
NAME = re.compile(r"\w(?:[\w.-]{0,78}[\w-])?")  # a folder's name on every system, and never a path
VERSION = re.compile(rf"[0-9a-f]{{{VERSION_LENGTH}}}")


def checked_name(name: str) -> str:
    """The name as it is kept. Raises CuetuneError for what could not be a folder's name on every system."""
    name = unicodedata.normalize("NFC", name)
    if not NAME.fullmatch(name) or name == INDEX:
        raise CuetuneError(
            f"{one_line(name)[:80]!r} is no name for a prompt: letters, digits, '.', '-' and '_', at most 80, with a "
            "letter or digit first."
        )
    return name


def as_name(words: str) -> str:
    """Free words as a name: "Avis clients (2)" becomes "Avis-clients-2"."""
    plain = re.sub(r"[^\w.]+", "-", unicodedata.normalize("NFC", words))
    return checked_name(plain.strip("-.")[:80].rstrip("-.") or "prompt")


def named(name: str, entries: Sequence[Entry], where: str) -> list[Entry]:
    """The entries of that name. Raises CuetuneError with the nearest name where there are none."""
    if found := [entry for entry in entries if entry.name == name]:
        return found
    known = sorted({entry.name for entry in entries})
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    few = f"it has {', '.join(known[:5])}{', …' if len(known) > 5 else ''}." if known else "it is empty."
    hint = f"did you mean {close[0]!r}?" if close else few
    raise CuetuneError(f"{where}: no prompt {one_line(name)[:80]!r}; {hint}")


def chosen(versions: Sequence[Entry], version: str | None, where: str) -> Entry:
    """The first, which is the newest, or the only one that begins with `version`."""
    if version is None:
        return versions[0]
    found = [entry for entry in versions if version and entry.version.startswith(version)]
    if len(found) == 1:
        return found[0]
    raise CuetuneError(
        f"{where}: {len(found) or 'no'} versions of {versions[0].name} begin with {one_line(version)[:40]!r}; it has "
        f"{', '.join(entry.version for entry in (found or versions)[:5])}."
    )
