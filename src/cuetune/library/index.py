"""The index of a library, `index.json`: what its prompts say of themselves, kept so that a listing reads one file.

It is never the truth. An entry of it counts only where the files of that version are as they were when it was made;
everything else is read from the prompts, so a lost, old, broken or altered index costs time and nothing else.
"""

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from pydantic import ValidationError

from cuetune.errors import CuetuneError
from cuetune.library.entry import Entry, Seen, read_entry
from cuetune.library.names import INDEX, NAME, VERSION
from cuetune.library.record import CONFIG, RECORD, Shape
from cuetune.library.storage import Storage
from cuetune.support.ownership import MARKER, SMALL
from cuetune.support.strict_json import DAMAGED, Limits, parse_json
from cuetune.visible import one_line

MARK = {"cuetune": "library"}  # see `ownership`
HEAD = re.compile(rb'\{\s*"format": \d+,\s*"sha256": "')
INDEX_FORMAT = 1  # of index.json; one of another format is made anew
LARGEST_ENTRY, MOST_VALUES = 2**16, 4096  # bytes and values of an entry, on the average
Files = dict[str, Seen]


class IndexFile(Shape):
    """The shape of index.json. sha256: of the entries, so that a file cut short or altered by hand is noticed."""

    format: int
    sha256: str
    entries: dict[str, tuple[str, Entry]]


def survey(storage: Storage) -> tuple[list[Entry], list[str]]:
    """Every version in the library, and one line for each thing there that is none.

    The index is read first and written again when it did not agree with what lies there; where it cannot be written
    (a library that is only read) the answer is the same.
    """
    listed = storage.files()
    versions, faults = sort_out(listed)
    known = _read_index(storage, len(versions))
    entries: dict[str, tuple[str, Entry]] = {}
    for path, files in versions.items():
        stamp = _stamp(files)
        if path in known and known[path][0] == stamp:
            entries[path] = known[path]
            continue
        try:
            entries[path] = (stamp, read_version(storage, path, files))
        except CuetuneError as error:
            faults.append(f"{path}: {str(error).rstrip('.')}.")
    if entries != known:
        if _is_ours(storage, listed):
            _write_index(storage, entries, marked=MARKER in listed)
        else:
            faults.append(f"{INDEX}: is of another tool, so it stays, and listings read every prompt; move it away.")
    return [entry for _, entry in entries.values()], faults


def read_version(storage: Storage, path: str, files: Files) -> Entry:
    """The entry of the version at `path`. Raises CuetuneError saying what is wrong with it."""
    name, _, version = path.partition("/")
    return read_entry(name, version, files, lambda file, size: storage.read(f"{path}/{file}", size))


def sort_out(listed: Mapping[str, Seen]) -> tuple[dict[str, Files], list[str]]:
    """The versions' files by the versions' paths, and one line for each folder that is something else."""
    versions: dict[str, Files] = defaultdict(dict)
    others: dict[str, set[str]] = defaultdict(set)
    for path, seen in listed.items():
        name, *rest = path.split("/")
        if not rest or name.startswith("."):  # plain files beside the prompts are nobody's concern
            continue
        if len(rest) >= 2 and NAME.fullmatch(name) and VERSION.fullmatch(rest[0]):
            versions[f"{name}/{rest[0]}"]["/".join(rest[1:])] = seen
        else:
            others[name].add(rest[0])
    holding = {path.partition("/")[0] for path in versions}
    faults = [_stranger(name, found, name in holding) for name, found in sorted(others.items())]
    return dict(versions), [fault for fault in faults if fault]


def _stranger(name: str, found: set[str], holds_versions: bool) -> str:
    shown = one_line(name)
    if RECORD in found or CONFIG in found:
        return f"{shown}: a saved prompt that was put here but not added; add its folder to have it listed."
    if holds_versions:
        odd = sorted(one_line(each) for each in found if not each.startswith("."))
        return f"{shown}: {', '.join(odd[:3])}: no version of a prompt." if odd else ""
    return f"{shown}: holds no prompt."


def _stamp(files: Files) -> str:
    """Changes with every change of a version's files that a listing shows."""
    return hashlib.sha256(json.dumps(sorted(files.items())).encode()).hexdigest()[:16]


def _read_index(storage: Storage, count: int) -> dict[str, tuple[str, Entry]]:
    """The index's entries; none where it is missing, in any way not what was written, or too large for the versions."""
    limits = Limits(2**20 + count * LARGEST_ENTRY, values=1000 + count * MOST_VALUES)
    try:
        values = parse_json(storage.read(INDEX, limits.size + 1), INDEX, limits)
        values["entries"] = {path: tuple(pair) for path, pair in values["entries"].items()}
        index = IndexFile.model_validate(values)
    except (CuetuneError, ValidationError, *DAMAGED):
        return {}
    if index.format != INDEX_FORMAT or index.sha256 != _sum(values["entries"]):
        return {}
    return {path: pair for path, pair in index.entries.items() if path == pair[1].path}


def _is_ours(storage: Storage, listed: Mapping[str, Seen]) -> bool:
    """Whether the index may be replaced: it is missing, or begins as ours do, or was damaged in a library of ours."""
    if INDEX not in listed:
        return True
    try:
        content = storage.read(INDEX, SMALL)
        if HEAD.match(content):
            return True
        with suppress(CuetuneError):
            if isinstance(parse_json(content, INDEX), dict):
                return False
        return MARKER in listed and parse_json(storage.read(MARKER, SMALL), MARKER) == MARK
    except CuetuneError:
        return False


def _write_index(storage: Storage, entries: dict[str, tuple[str, Entry]], *, marked: bool) -> None:
    values = {path: [stamp, entry.model_dump(mode="json")] for path, (stamp, entry) in entries.items()}
    text = json.dumps({"format": INDEX_FORMAT, "sha256": _sum(values), "entries": values}, indent=1)
    try:
        if not marked:
            storage.write(MARKER, json.dumps(MARK) + "\n")
        storage.write(INDEX, text + "\n")
    except CuetuneError:  # read-only or full: the prompts themselves say the same
        return


def _sum(entries: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(entries, sort_keys=True).encode()).hexdigest()
