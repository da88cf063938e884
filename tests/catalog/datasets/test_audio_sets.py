"""Packaged recordings: what is taken from small packages, and the registry's promises against the real ones."""

import csv
import io
import shutil
import wave
from collections import Counter

import numpy as np
import pytest
import soundfile
from deb_file import deb

from cuetune.data.media.audio_files import SOUNDS, infer_transcripts
from cuetune.data.media.audio_reading import read_recording
from cuetune.data.row import Row
from cuetune.errors import CuetuneError
from cuetune_catalog.datasets.readers.drum_hits import instruments, label_of
from cuetune_catalog.datasets.readers.drum_hits import read as read_drums
from cuetune_catalog.datasets.readers.spoken_numbers import NUMBERS
from cuetune_catalog.datasets.readers.spoken_numbers import read as read_numbers
from cuetune_catalog.datasets.readers.stamp_captions import read as read_captions
from cuetune_catalog.datasets.readers.stamp_captions import translation
from cuetune_catalog.datasets.readers.telephone_languages import read as read_telephone
from cuetune_catalog.datasets.registry import DATASETS

AUDIO = [each for each in DATASETS.values() if each.modality == "audio"]
KIT = """<drumkit_info{space}><instrumentList>
<instrument><name>Kick 1</name><layer><filename>k.wav</filename></layer></instrument>
<instrument><name>Snare Rimshot</name><layer><filename>r.wav</filename></layer></instrument>
<instrument><name>Hat Closed</name><layer><filename>h 1.wav</filename></layer><layer><filename>h2.wav</filename></layer>
</instrument><instrument><name>Ride (Custom)</name><filename>gone.wav</filename></instrument></instrumentList>
</drumkit_info>"""


def test_hits_are_told_by_the_one_word_for_them():
    named = {
        "Ride (Custom, Zagrebin 22')": "cymbal",
        "Sabian Hat Closed": "hi-hat",
        "bass drum 3": "kick",
        "Snare Jazz": "snare",
        "Floor Tom": "tom",
        "Snare Rimshot": None,
        "Kick Stomp": None,
        "Cowbell": None,
        "Kick and Snare": None,
        "": None,
    }
    assert {name: label_of(name) for name in named} == named


def test_drum_hits_of_a_package(tmp_path):
    root = "usr/share/hydrogen/data/drumkits/A Kit"
    files = {
        f"{root}/drumkit.xml": KIT.replace("{space}", ' xmlns="http://kits"').encode(),
        f"{root}/k.wav": b"kick",
        f"{root}/r.wav": b"rim",
        f"{root}/h 1.wav": b"hat",
        f"{root}/h2.wav": b"kick",  # the same sound as the kick's
        "usr/share/doc/drumkit.xml": b"none",
    }
    rows = list(read_drums(deb(tmp_path / "drums.deb", files)))
    assert [(content, name) for content, name, _ in rows] == [(b"hat", "A_Kit/h_1.wav"), (b"kick", "A_Kit/h2.wav")]
    assert rows[0][2] == ("hi-hat", "A Kit", "Hat Closed")
    assert list(instruments(KIT.replace("{space}", "").encode()))[0] == ("Kick 1", "k.wav")


def wav(samples: bytes) -> bytes:
    """A file of 16-bit samples."""
    stream = io.BytesIO()
    with wave.open(stream, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(samples)
    return stream.getvalue()


def test_telephone_prompts_of_packages(tmp_path):
    root = "usr/share/asterisk/sounds/fr_CA_f_June"
    sept, bonjour = wav(b"sept"), wav(b"bon jour")
    spoken = {f"{root}/digits/7.wav": sept, f"{root}/vm-intro.wav": bonjour, f"{root}/again.wav": sept}
    spoken[f"{root}/nothing.wav"] = wav(b"")
    silent = {f"{root}/beep.wav": b"b", f"{root}/silence/1.wav": b"s", f"{root}/dial-tone.wav": b"t"}
    package = deb(tmp_path / "fr.deb", {**spoken, **silent})
    rows = list(read_telephone(french=package))
    assert [(content, name) for content, name, _ in rows] == [
        (sept, "french/again.wav"),
        (bonjour, "french/vm-intro.wav"),
    ]
    assert rows[0][2] == ("french", "June", "again")


def test_numbers_of_packages(tmp_path):
    tone = (8000 * np.sin(np.arange(3200) / 5)).astype(np.int16)
    stream = io.BytesIO()
    soundfile.write(stream, tone, 8000, format="RAW", subtype="GSM610")
    gsm = stream.getvalue()
    root = "usr/share/asterisk/sounds/fr/digits"
    files = {f"{root}/{name}.gsm": gsm for name in ("7", "70", "0", "21", "1n", "h-7", "million")}
    french = deb(tmp_path / "fr.deb", {**files, "usr/share/asterisk/sounds/fr/7.gsm": gsm})
    spanish = deb(tmp_path / "es.deb", {"usr/share/asterisk/sounds/es/digits/90.gsm": gsm})
    rows = list(read_numbers(**{"spanish-July": spanish, "french-Armelle": french}))
    assert [(name, cells) for _, name, cells in rows] == [
        ("french-Armelle/0.wav", ("0", "french", "Armelle")),
        ("french-Armelle/7.wav", ("7", "french", "Armelle")),
        ("french-Armelle/70.wav", ("70", "french", "Armelle")),
        ("spanish-July/90.wav", ("90", "spanish", "July")),
    ]
    heard, rate = soundfile.read(io.BytesIO(rows[0][0]), dtype="int16")
    assert (rate, len(heard)) == (8000, len(tone))
    assert np.corrcoef(heard, tone)[0, 1] > 0.9
    assert len(NUMBERS) == 28


def test_captions_of_a_package(tmp_path):
    root = "usr/share/tuxpaint/stamps/animals"
    files = {
        f"{root}/cat.txt": b"A cat.\nfr.utf8=Un chat.\n",
        f"{root}/cat_desc_fr.ogg": b"chat",
        f"{root}/cat_desc_es.ogg": b"gato",
        f"{root}/big/cat.txt": b"A cat.\nfr.utf8=un  chat.\n",
        f"{root}/big/cat_desc_fr.ogg": b"the same words again",
        f"{root}/dog.txt": b"A dog.\n",
        f"{root}/dog_desc_fr.ogg": b"no French text",
        f"{root}/bird_desc_fr.ogg": b"no text at all",
    }
    rows = list(read_captions(deb(tmp_path / "stamps.deb", files), "fr"))
    assert rows == [(b"the same words again", "animals/big-cat.ogg", ("un  chat.", "animals", "big-cat"))]
    assert translation(b"A cat.\nfr.utf8=Un chat.\nfr_CA.utf8=Non.\n", "fr") == "Un chat."
    assert translation(b"A cat.", "fr") == ""


def test_transcripts_are_inferred_and_refused():
    rows = [Row("row 1", {"audio": "a.wav", "caption": "Un chat.", "stamp": "cat"})]
    task = infer_transcripts(rows, language="fr", name="french")
    assert (task.template, task.label_column, task.generates, task.instruction) == ("{audio}", "caption", True, "fr")
    with pytest.raises(CuetuneError, match="--labels: a transcript has no labels"):
        infer_transcripts(rows, labels=["a"])
    with pytest.raises(CuetuneError, match="no rows"):
        infer_transcripts([])
    assert SOUNDS.holds(rows)


@pytest.mark.slow
@pytest.mark.parametrize(
    "data", [each for each in DATASETS.values() if each.modality == "audio"], ids=lambda data: data.name
)
def test_the_real_ones_are_what_the_registry_says(data, tmp_path):
    if shutil.which("apt-get") is None:
        pytest.skip("apt-get is not installed here")
    path = tmp_path / f"{data.name}.csv"
    try:
        data.write(path)
    except CuetuneError as error:
        pytest.skip(f"{data.name} cannot be fetched here: {error}")
    with path.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert tuple(rows[0]) == data.columns
    assert len(rows) == data.rows == len({row["audio"] for row in rows})
    assert Counter(row["label"] for row in rows if "label" in row) == data.labels
    for row in rows:
        read_recording(tmp_path / row["audio"], row["audio"], 16000, 30)
