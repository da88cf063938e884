"""Telephone prompts of the Asterisk exchange in five languages: which language is spoken? One voice a language.

English and Mexican Spanish are spoken by the same woman, so that those two are told apart by what is said alone; the
other languages each have a voice of their own, and a model may know the voice.
"""

import hashlib
import io
import wave
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from cuetune_catalog.fetch.debian import files_of

ROOT = PurePosixPath("usr/share/asterisk/sounds")
NOISES = ("beep", "tone", "silence", "ring", "dings", "busy")  # parts of the names of files in which nobody speaks


def read(**languages: Path) -> Iterator[tuple[bytes, str, tuple[str, ...]]]:
    """(audio, "language/file.wav", (language, voice, file)) of every prompt, languages and files in order."""
    for language, archive in sorted(languages.items()):
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
