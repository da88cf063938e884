"""Telephone prompts of the Asterisk exchange in five languages: which language is spoken? One voice a language.

English and Mexican Spanish are spoken by the same woman, so that those two are told apart by what is said alone; the
other languages each have a voice of their own, and a model may know the voice.
"""

import hashlib
import io
import wave
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from cuetune_catalog.datasets.media_set import MediaSet
from cuetune_catalog.fetch.debian import DebianArchive, files_of

ROOT = PurePosixPath("usr/share/asterisk/sounds")
NOISES = ("beep", "tone", "silence", "ring", "dings", "busy")  # parts of the names of files in which nobody speaks


def read_telephone(archives: Mapping[str, Path]) -> Iterator[tuple[bytes, str, tuple[str, ...]]]:
    """(recording, "language/file.wav", (language, voice, file)) of every prompt, languages and files in order."""
    for language, archive in sorted(archives.items()):
        found: dict[PurePosixPath, bytes] = {}
        with files_of(archive) as files:
            for name, content in files:
                path = PurePosixPath(name)
                if path.is_relative_to(ROOT) and path.suffix == ".wav" and not is_noise(path):
                    found[path.relative_to(ROOT)] = content.read()
        seen: set[str] = set()
        for path in sorted(found):
            key = hashlib.sha256(found[path]).hexdigest()
            if key not in seen and n_samples(found[path]):  # one Russian file is a header and nothing behind it
                seen.add(key)
                said = "-".join(path.with_suffix("").parts[1:])
                yield found[path], f"{language}/{said}.wav", (language, path.parts[0].rpartition("_")[2], said)


def n_samples(content: bytes) -> int:
    """How many samples a WAV file has."""
    with wave.open(io.BytesIO(content)) as file:
        return file.getnframes()


def is_noise(path: PurePosixPath) -> bool:
    """Whether nobody speaks in a file, as its name says."""
    return "silence" in path.parts or any(word in path.stem.split("-") or path.stem.startswith(word) for word in NOISES)


def core_sounds(code: str, codec: str, sha256: str, size: int) -> DebianArchive:
    """The exchange's own prompts in a language."""
    return DebianArchive(f"asterisk-core-sounds-{code}-{codec}==1.6.1-1", sha256, size)


TELEPHONE = MediaSet(
    name="telephone-languages",
    description="phrases, numbers and letters of a telephone exchange: in which of five languages?",
    asked="label",
    columns=("audio", "label", "voice", "name"),
    rows=2753,
    labels={"english": 552, "french": 545, "italian": 583, "russian": 559, "spanish": 514},
    licence="CC BY-SA 3.0, CC BY 3.0",
    citation=(
        "Asterisk core sounds 1.6.1 (Digium, Inc.): Allison Smith, June Wallack, Carlo Flora, Maxim Topal; as "
        "packaged by Debian."
    ),
    archives={
        "english": core_sounds(
            "en", "wav", "2be3ea287d83299d143815fa804f11179a75b7affd4a758b98b55f5afc18a35d", 18_272_864
        ),
        "french": core_sounds(
            "fr", "wav", "8d4e1bc32ed5ba7fbda40841ca1825ed20cc6232724a473c90f8bb0e53e6073e", 18_516_060
        ),
        "italian": core_sounds(
            "it", "wav", "5a26638089e134b8ac39363fe249c5c93c50cd8bfdc9b2499ae61ec4a35e2fcb", 18_262_124
        ),
        "russian": core_sounds(
            "ru", "wav", "ccbfaebfa450b7a9ddf644ae0f3d1e9017d5df7c0aebe816e946345589d38201", 18_788_860
        ),
        "spanish": core_sounds(
            "es", "wav", "9283a09a6d56fccdcc2bcfe86c48f0f844289cfbd46a3184d8785a6f7f569903", 23_767_256
        ),
    },
    read=read_telephone,
)
