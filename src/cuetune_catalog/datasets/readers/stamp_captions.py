"""Spoken captions of Tux Paint's stamps: what an image shows, said by one voice a language (GPL-2).

The captions' texts are the translations that stand beside each stamp; of equal ones the first is taken. Nobody has
checked that a voice says exactly what the text says.
"""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from cuetune_catalog.datasets.readers.tux_paint_stamps import ROOT
from cuetune_catalog.fetch.debian import files_of


def read(stamps: Path, code: str) -> Iterator[tuple[bytes, str, tuple[str, ...]]]:
    """(audio, "category/stamp.ogg", (caption, category, stamp)) of every stamp with both. code: of the language."""
    ending = f"_desc_{code}.ogg"
    texts: dict[PurePosixPath, str] = {}
    audio: dict[PurePosixPath, bytes] = {}
    with files_of(stamps) as files:
        for name, content in files:
            path = PurePosixPath(name)
            if path.is_relative_to(ROOT) and path.suffix == ".txt":
                texts[path.relative_to(ROOT).with_suffix("")] = translation(content.read(), code)
            elif path.is_relative_to(ROOT) and path.name.endswith(ending):
                stamp = path.relative_to(ROOT).parent / path.name.removesuffix(ending)
                audio[stamp] = content.read()
    seen: set[str] = set()
    for stamp in sorted(audio):
        text = texts.get(stamp, "")
        key = " ".join(text.lower().split())
        if key and key not in seen:
            seen.add(key)
            flat = "-".join(stamp.parts[1:])
            yield audio[stamp], f"{stamp.parts[0]}/{flat}.ogg", (text, stamp.parts[0], flat)


def translation(content: bytes, code: str) -> str:
    """The caption in one language: the line that begins with its code; empty where there is none."""
    for line in content.decode("utf-8", "replace").splitlines():
        if line.startswith(f"{code}.utf8="):
            return line.partition("=")[2].strip()
    return ""
