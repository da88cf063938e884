"""Spoken captions of Tux Paint's stamps: what a picture shows, said by one voice a language (GPL-2).

The captions' texts are the translations that stand beside each stamp; of equal ones the first is taken. Nobody has
checked that a voice says exactly what the text says.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from cuetune_catalog.datasets.media_set import MediaSet
from cuetune_catalog.datasets.readers.tux_paint_stamps import ROOT, STAMPS
from cuetune_catalog.fetch.debian import files_of


@dataclass(frozen=True)
class Captions:
    """What reads the captions of one language. code: as in the names of its files."""

    code: str

    def __call__(self, archives: Mapping[str, Path]) -> Iterator[tuple[bytes, str, tuple[str, ...]]]:
        """(recording, "category/stamp.ogg", (caption, category, stamp)) of every stamp that has both."""
        ending = f"_desc_{self.code}.ogg"
        texts: dict[PurePosixPath, str] = {}
        sounds: dict[PurePosixPath, bytes] = {}
        with files_of(archives["stamps"]) as files:
            for name, content in files:
                path = PurePosixPath(name)
                if path.is_relative_to(ROOT) and path.suffix == ".txt":
                    texts[path.relative_to(ROOT).with_suffix("")] = translation(content.read(), self.code)
                elif path.is_relative_to(ROOT) and path.name.endswith(ending):
                    stamp = path.relative_to(ROOT).parent / path.name.removesuffix(ending)
                    sounds[stamp] = content.read()
        seen: set[str] = set()
        for stamp in sorted(sounds):
            text = texts.get(stamp, "")
            key = " ".join(text.lower().split())
            if key and key not in seen:
                seen.add(key)
                flat = "-".join(stamp.parts[1:])
                yield sounds[stamp], f"{stamp.parts[0]}/{flat}.ogg", (text, stamp.parts[0], flat)


def translation(content: bytes, code: str) -> str:
    """The caption in one language: the line that begins with its code; empty where there is none."""
    for line in content.decode("utf-8", "replace").splitlines():
        if line.startswith(f"{code}.utf8="):
            return line.partition("=")[2].strip()
    return ""


def _captions(language: str, code: str, rows: int) -> MediaSet:
    return MediaSet(
        name=f"captions-{language}",
        description=f"short descriptions of pictures, spoken by one person in {language.capitalize()}",
        asked="caption",
        columns=("audio", "caption", "category", "stamp"),
        rows=rows,
        labels={},
        licence=STAMPS.licence,
        citation=STAMPS.citation,
        archives=STAMPS.archives,
        read=Captions(code),
    )


CAPTIONS = (_captions("french", "fr", 744), _captions("spanish", "es", 709))
