"""A Debian package of a few files, written as the format is described, for tests."""

import io
import tarfile
from pathlib import Path


def member(name: str, content: bytes) -> bytes:
    """One member of an `ar` file."""
    head = f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n".encode()
    return head + content + b"\n" * (len(content) % 2)


def deb(path: Path, files: dict[str, bytes], compression: str = "xz") -> Path:
    """A package that installs these files and a link."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=f"w:{compression}") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(f"./{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
        archive.addfile(_link())
    data = member(f"data.tar.{compression}", stream.getvalue())
    path.write_bytes(b"!<arch>\n" + member("debian-binary", b"2.0") + member("control.tar.xz", b"odd") + data)
    return path


def _link() -> tarfile.TarInfo:
    entry = tarfile.TarInfo("./usr/link")
    entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
    return entry
