"""Packages of a Debian archive, for data that ships only there: fetched by `apt-get download`, never installed."""

import errno
import os
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from cuetune.errors import CuetuneError
from cuetune_catalog.fetch.cache import Progress, keep, last_line, run_watched

MAGIC, HEADER = b"!<arch>\n", 60


def fetch(requirement: str, sha256: str, *, size: int = 0, progress: Progress | None = None) -> Path:
    """One package's file, downloaded when it is not kept yet; apt's own configuration holds.

    requirement: "name==version". progress(done, size) in bytes. Raises CuetuneError when apt is missing or cannot fetch
    it, or its SHA-256 is another one; then nothing is kept.
    """
    return keep(requirement, sha256, lambda folder: _download(requirement, folder, size, progress))


def _download(requirement: str, folder: Path, size: int, progress: Progress | None) -> Path:
    """Let apt fetch the package to `folder`."""
    apt = shutil.which("apt-get")
    if apt is None:
        raise CuetuneError(
            f"{requirement}: apt-get, which fetches it, is not on the PATH; this data set needs Debian or a system "
            "made from it."
        )
    (folder / "out").mkdir()
    # apt writes where it stands, and by itself gives up on a package that its lists do not know.
    command = ["sh", "-c", 'cd "$1" && exec "$2" download "$3"', "sh", str(folder / "out"), apt]
    command.append(requirement.replace("==", "="))
    settings = {**os.environ, "LC_ALL": "C"}
    code, printed = run_watched(command, settings, requirement, folder, size, progress)
    files = list((folder / "out").glob("*.deb"))
    if code != 0 or not files:
        raise _explain(requirement, printed)
    return files[0]


def _explain(requirement: str, output: str) -> Exception:
    """What apt's messages mean for the user, and what to do next."""
    if "No space left on device" in output:
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if "Unable to locate" in output or "was not found" in output:
        return CuetuneError(
            f"{requirement}: apt's lists do not have it; run `apt-get update`, or use a release of Debian that has it."
        )
    if "Could not resolve" in output or "Failed to fetch" in output or "Unable to connect" in output:
        return CuetuneError(
            f"{requirement}: the Debian archive could not be reached; check the network, then try again."
        )
    return CuetuneError(f"{requirement}: apt-get could not download it ({last_line(output)}).")


@contextmanager
def files_of(archive: Path) -> Iterator[Iterator[tuple[str, IO[bytes]]]]:
    """(path, content) of every file that a .deb installs, in the archive's order; each is read before the next.

    Raises ValueError for a file that is no Debian package.
    """
    with archive.open("rb") as stream:
        _find_data(stream)
        with tarfile.open(fileobj=stream, mode="r|*") as files:
            yield (
                (member.name.removeprefix("./"), content)
                for member in files
                if member.isfile() and (content := files.extractfile(member)) is not None
            )


def _find_data(stream: IO[bytes]) -> None:
    """Leave the stream where the archive of the installed files begins. A .deb is an `ar` file of three members."""
    if stream.read(len(MAGIC)) != MAGIC:
        raise ValueError("not a Debian package")
    while len(header := stream.read(HEADER)) == HEADER:
        if header.startswith(b"data.tar"):
            return
        size = int(header[48:58])
        stream.seek(size + size % 2, os.SEEK_CUR)
    raise ValueError("a package without files")
