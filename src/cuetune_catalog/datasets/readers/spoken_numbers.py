"""Spoken numbers: which of 28 is said, by eight voices in five languages? Three languages have a second voice.

All are telephone prompts in the GSM codec of 8 kHz, so that no voice can be told by how it was compressed.
"""

import io
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from cuetune.tasks.recordings import soundfile
from cuetune_catalog.datasets.media_set import MediaSet
from cuetune_catalog.datasets.readers.telephone_languages import core_sounds
from cuetune_catalog.fetch.debian import DebianArchive, files_of

NUMBERS = tuple(str(number) for number in (*range(21), *range(30, 100, 10)))
RATE = 8000  # samples a second


def read_numbers(archives: Mapping[str, Path]) -> Iterator[tuple[bytes, str, tuple[str, ...]]]:
    """(recording, "language-voice/number.wav", (number, language, voice)) of every number, voices in order."""
    for spoken, archive in sorted(archives.items()):
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


SPOKEN_NUMBERS = MediaSet(
    name="spoken-numbers",
    description="numbers in five languages by eight voices: which of 28 is said, also by a voice never heard?",
    asked="label",
    columns=("audio", "label", "language", "voice"),
    rows=224,
    labels=dict.fromkeys(NUMBERS, 8),
    licence="CC BY-SA 3.0, CC BY 3.0, GPL-2, BSD",
    citation=(
        "Asterisk core sounds 1.6.1 (Digium, Inc.): Allison Smith, June Wallack, Carlo Flora, Maxim Topal; voice "
        "prompts by July E. Jiménez (Avatar Ltda., GPL-2), Armelle Desjardins (Michel Gutierrez, BSD), and Paola Dal "
        "Zot and Marco Menardi (voip.ammdomus.it, CC BY-SA 3.0); as packaged by Debian."
    ),
    archives={
        "english-Allison": core_sounds(
            "en", "gsm", "ddc33205a56aebf54c73a0fb95c3a0d8131087878d74857a4e54bcab2b0d72ae", 2_417_168
        ),
        "french-June": core_sounds(
            "fr", "gsm", "97bd8bebb7ef775046802a5a466d8f89916f54f437e158a1ec537cef814d44fd", 2_466_860
        ),
        "italian-Carlo": core_sounds(
            "it", "gsm", "fb6d6ce94502894714f00240c372a291bcaa4cd3e05fdf278780a4dd9edfabab", 2_311_332
        ),
        "russian-Ivrvoice": core_sounds(
            "ru", "gsm", "19770f5c211e8c3a1dc8eefd703382570da7edf00c52db069ebc2a64d5dda4bd", 2_415_624
        ),
        "spanish-Allison": core_sounds(
            "es", "gsm", "533b4c29e232cae99f89a6933b5fc0af5341514e513924df401c683e222614b7", 3_004_752
        ),
        "french-Armelle": DebianArchive(
            "asterisk-prompt-fr-armelle==20070613-2.2",
            "162570b1a9b3512a98f06b89f60c7c17cf1b9b52297315adca9a4e5be728bea3",
            1_496_780,
        ),
        "italian-Menardi": DebianArchive(
            "asterisk-prompt-it-menardi-gsm==1:1.4.22+mm20110907-3.1",
            "36ca6a951c029a94e6773c1c7d433042f5e4e2d9403c953005b0b7c9b2f9fbc2",
            2_391_928,
        ),
        "spanish-July": DebianArchive(
            "asterisk-prompt-es-co==0.20070403-2.1",
            "6702696e045514699e87dc8fb70f370717e5df91f821f7bec8dd0df1be008e83",
            992_708,
        ),
    },
    read=read_numbers,
)
