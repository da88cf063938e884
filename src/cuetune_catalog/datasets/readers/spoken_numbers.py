"""Spoken numbers: which of 28 is said, by eight voices in five languages? Three languages have a second voice.

All are telephone prompts in the GSM codec of 8 kHz, so that no voice can be told by how it was compressed.
"""

import io
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from cuetune.data.media.audio_reading import soundfile
from cuetune_catalog.fetch.debian import files_of

NUMBERS = tuple(str(number) for number in (*range(21), *range(30, 100, 10)))
RATE = 8000  # samples a second


def read(**voices: Path) -> Iterator[tuple[bytes, str, tuple[str, ...]]]:
    """(audio, "language-voice/number.wav", (number, language, voice)) of every number, voices in order."""
    for spoken, archive in sorted(voices.items()):
        found: dict[str, bytes] = {}
        with files_of(archive) as files:
            for name, content in files:
                path = PurePosixPath(name)
                if path.parent.name == "digits" and path.suffix == ".gsm" and path.stem in NUMBERS:
                    found[path.stem] = content.read()
        language, voice = spoken.split("-")
        for number in (each for each in NUMBERS if each in found):
            yield as_wav(found[number]), f"{spoken}/{number}.wav", (number, language, voice)


def as_wav(gsm: bytes) -> bytes:
    """The samples of a bare GSM 06.10 stream, as a WAV file. Raises CuetuneError where soundfile is not installed."""
    library, stream = soundfile(), io.BytesIO()
    samples, _ = library.read(
        io.BytesIO(gsm), dtype="int16", format="RAW", subtype="GSM610", samplerate=RATE, channels=1
    )
    library.write(stream, samples, RATE, format="WAV", subtype="PCM_16")
    return stream.getvalue()
