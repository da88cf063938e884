"""What all fetchers share: archives that are downloaded once, checked, and kept in the cache."""

import hashlib
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from cuetune.errors import CuetuneError
from cuetune.support.cache_dir import cache_dir
from cuetune.support.files import disk_error, temporary_folder

TIMEOUT = 900  # seconds for one download
LEFTOVER = re.compile(r"\.download-\w+|\..+\.\w+\.partial")
STALE = 24 * 3600  # seconds after which what a killed process left behind is removed
Progress = Callable[[int, int], None]  # (bytes done, bytes in all)


def keep(requirement: str, sha256: str, download: Callable[[Path], Path]) -> Path:
    """The archive kept earlier, or the one that `download` leaves in the temporary folder it is given.

    Raises CuetuneError when its SHA-256 is another one or the disk refuses; then nothing is kept.
    """
    kept = cache_dir() / "packages"
    if (path := _kept(kept, requirement, sha256)) is not None:
        return path
    try:
        kept.mkdir(parents=True, exist_ok=True)
        sweep(kept)
        with temporary_folder(kept) as folder:
            archive = download(folder)
            if (found := digest(archive)) != sha256:
                raise mismatch(requirement, sha256, found)
            os.replace(archive, kept / archive.name)
            return kept / archive.name
    except (OSError, CuetuneError) as error:
        refused = error if isinstance(error, OSError) else error.__cause__
        if not isinstance(refused, OSError):
            raise
        raise CuetuneError(f"{disk_error(kept, refused)} CUETUNE_CACHE names another place for the cache.") from error


def sweep(folder: Path) -> None:
    """Remove what earlier versions left in a folder of the cache when they were killed; see also `leftovers`."""
    for path in folder.glob(".*"):
        with suppress(FileNotFoundError):  # its owner has just finished
            if LEFTOVER.fullmatch(path.name) and time.time() - path.stat().st_mtime > STALE:
                shutil.rmtree(path, ignore_errors=True)


def digest(path: Path) -> str:
    """SHA-256 of a file, read in pieces."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _kept(folder: Path, requirement: str, sha256: str) -> Path | None:
    """The archive fetched earlier, if it is there and still what it should be."""
    wanted = _plain(requirement.split("==")[0])
    for path in folder.glob("*"):
        try:
            if _plain(path.name).startswith(wanted + "-") and digest(path) == sha256:
                return path
        except FileNotFoundError:  # another process has just used it up
            continue
    return None


def _plain(name: str) -> str:
    """A package's name as archives begin with it, whatever the spelling: @scope/name and scope_name are scope-name."""
    return name.removeprefix("@").replace("/", "-").replace("_", "-").lower()


def run_watched(
    command: list[str], settings: dict[str, str], requirement: str, folder: Path, size: int, progress: Progress | None
) -> tuple[int, str]:
    """Run a program that downloads into `folder`; its exit code and all it printed.

    settings: its environment. Raises CuetuneError when it takes longer than `TIMEOUT`; it never outlives this call.
    """
    output = folder / "output.txt"
    with output.open("wb") as log:
        running = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=settings)
        try:
            _wait(running, requirement, folder, size, progress)
        finally:
            if running.poll() is None:
                running.kill()
                running.wait()
    return running.returncode, output.read_text(encoding="utf-8", errors="replace")


def _wait(
    running: "subprocess.Popen[bytes]", requirement: str, folder: Path, size: int, progress: Progress | None
) -> None:
    deadline = time.monotonic() + TIMEOUT
    while running.poll() is None:
        if time.monotonic() > deadline:
            raise CuetuneError(f"{requirement}: no download after {TIMEOUT} s; check the network and try again.")
        if progress is not None:
            done = _bytes_under(folder)  # for a moment pip holds the file twice
            progress(min(done, size or done), size)
        time.sleep(0.1)


def _bytes_under(folder: Path) -> int:
    total = 0
    for place, _, names in os.walk(folder):  # which passes over folders that are removed in this moment; rglob does not
        for name in names:
            with suppress(OSError):  # moved or removed in this moment
                total += os.stat(os.path.join(place, name)).st_size
    return total


def mismatch(requirement: str, expected: str, found: str) -> CuetuneError:
    return CuetuneError(
        f"{requirement}: the downloaded file has SHA-256 {found[:16]}…, expected {expected[:16]}…; it was not kept. "
        "Check which package index pip uses (`pip config list`)."
    )


def last_line(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if "ERROR" in line] or lines
    return errors[-1].removeprefix("ERROR: ") if errors else "no message"
