"""The folder of a run, `<to>.run`: what it holds, whose it is, and whether a saved prompt is what the run came to."""

import re
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open

from cuetune.errors import CuetuneError
from cuetune.library.record import RECORD
from cuetune.library.saving import check_replaceable
from cuetune.support.files import Check
from cuetune.support.named_paths import possible
from cuetune.support.ownership import FolderKind, begins_with, read_object

CHECKPOINT, LOG, JOURNAL, HISTORY, CALLS = (
    "checkpoint.safetensors",
    "log.jsonl",
    "search.jsonl",
    "history.jsonl",
    "calls.jsonl",
)
EVENTS = r"events\.out\.tfevents\..+"  # TensorBoard's
# How the files of a run begin, whole or cut short.
HEADS: Mapping[str, re.Pattern[bytes]] = {
    CHECKPOINT: re.compile(rb'.{8}\{"__metadata__":\{("sha256":"[0-9a-f]{64}",)?"(key|progress)":"', re.DOTALL),
    LOG: re.compile(rb'\{"event": "\w+", "step": \d'),
    JOURNAL: re.compile(rb'\{"key": "[0-9a-f]{64}"'),
    HISTORY: re.compile(rb'\{"key": "[0-9a-f]{64}"'),
    CALLS: re.compile(rb'\{"event": "\w+", "request": "'),
}
DEEP = 3  # folders inside each other: <to>.run/teachers/NAME


def _proof(folder: Path, deep: int = DEEP) -> bool:
    """Whether all files there that are called as ours begin as ours, and there is one, here or further down."""
    if not folder.is_dir():
        return False
    inside = list(folder.iterdir())
    named = [path for path in inside if path.name in HEADS]
    if named:
        return all(begins_with(path, HEADS[path.name]) for path in named)
    below = [path for path in inside if path.is_dir() and not path.is_symlink()]
    return deep > 1 and any(_proof(path, deep - 1) for path in below)


RUN = FolderKind("run", re.compile("|".join([*map(re.escape, HEADS), EVENTS])), _proof)


def run_folder_of(target: Path) -> Path:
    """Where the run lies whose result is saved at `target`. Raises CuetuneError where something else lies there."""
    folder = possible(target.with_name(target.name + ".run"))
    RUN.check(folder)
    return folder


def checkpoint_key(folder: Path) -> str | None:
    """Whose checkpoint lies in a run's folder, as `run_key` says it; None where there is none that can be read."""
    try:
        with safe_open(folder / CHECKPOINT, framework="pt") as file:
            return (file.metadata() or {}).get("key")
    except (SafetensorError, OSError):
        return None


def unfinished_run(folder: Path) -> str | None:
    """The key (`checkpoint.run_key`) of the run that can go on in this folder, None where there is none."""
    if (key := checkpoint_key(folder)) is not None:
        return key
    try:
        if not (folder / JOURNAL).is_file():  # a pipe would wait for a writer
            return None
        with (folder / JOURNAL).open("rb") as stream:
            head = re.match(rb'\{"key": "([0-9a-f]{64})"', stream.read(200))
    except OSError:
        return None
    return head[1].decode() if head else None


def finished_run(target: Path, run: Path) -> str | None:
    """The key of the run whose whole result is saved at `target`, None where there is none or it goes on."""
    made = read_object(target / RECORD).get("record", {})
    over = isinstance(made, dict) and made.get("stopped") != "interrupted" and unfinished_run(run) is None
    return str(made["run"]) if over and "run" in made else None


def may_replace(
    target: Path, run: Path, overwrite: bool, check: Check = check_replaceable, record: str = RECORD
) -> bool:
    """Whether what stands at `target` gives way: with overwrite, or where it is what this very run came to so far.

    So the same command goes on after Ctrl-C, and after a kill while the saved prompt was scored. run: the run's folder.
    check: what refuses folders that are no saved prompt. record: where the folder's record stands. Raises CuetuneError
    for anything else that stands there.
    """
    check(target)
    if overwrite or not target.exists():
        return overwrite
    if not any(target.iterdir()):
        return True
    made = read_object(target / record).get("record", {})
    key = unfinished_run(run)
    # Records from before they named their run: what a person stopped is of the run that is not finished.
    named = made.get("run", key if made.get("stopped") == "interrupted" else None)
    if key is None or named != key:
        raise CuetuneError(f"{target}: exists already; choose another --to, or pass --overwrite.")
    return True
