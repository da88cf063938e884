"""A library of prompts: what is added comes back, twice is once, and nothing reaches beyond the library."""

import json
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from made import TASK, same, tuned

import cuetune as package
from cuetune.data.task import Task
from cuetune.errors import CuetuneError
from cuetune.library.collection import PromptLibrary
from cuetune.library.digest import digest, digest_of
from cuetune.library.names import as_name, checked_name
from cuetune.library.record import PromptFile
from cuetune.library.tuned import TunedPrompt
from cuetune.prompts import HardPrompt, PrefixPrompt
from cuetune.readouts import Head

KINDS = {
    "soft": tuned(),
    "hard": replace(tuned(), prompt=HardPrompt([4, 0, 9], torch.randn(3, 6))),
    "prefix": replace(tuned(), prompt=PrefixPrompt(torch.randn(2, 2, 4, 3), torch.randn(2, 2, 4, 3))),
    "with a head": replace(tuned(), head=Head("mean", torch.randn(2, 6), torch.randn(2))),
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_added_comes_back(library, kind):
    made = replace(KINDS[kind], record={"created": "2026-01-02", "seed": 3})
    entry = library.add(made, "first")
    again = library.get("first")
    assert same(again, made)
    assert {**again.record, "added": None} == {**made.record, "added": None}
    if made.head:
        assert torch.equal(again.head.weight, made.head.weight)
    assert (entry.name, entry.task, entry.labels, entry.kind) == ("first", "reviews", ["neg", "pos"], made.prompt.kind)
    assert (entry.length, entry.created, entry.backbone) == (made.prompt.length, "2026-01-02", "tiny-llama")
    assert library.entries() == [entry]


def test_the_public_name_is_the_library(tmp_path):
    assert package.PromptLibrary is PromptLibrary
    package.PromptLibrary(tmp_path / "lib").add(tuned().save(tmp_path / "mine"))
    assert [entry.name for entry in PromptLibrary(str(tmp_path / "lib")).entries()] == ["mine"]


def test_a_version_is_an_ordinary_saved_prompt(library):
    entry = library.add(tuned(), "first")
    folder = library.fetch("first")
    assert (folder.name, folder.parent.name) == (entry.version, "first")
    assert same(TunedPrompt.load(folder), tuned())
    assert same(package.load(folder), tuned())
    saved = {"adapter_model.safetensors", "adapter_config.json", "cuetune.json", "README.md"}
    assert {path.name for path in folder.iterdir()} == saved
    assert "# first\n" in (folder / "README.md").read_text()
    assert entry.size == sum(path.stat().st_size for path in folder.iterdir())


def test_the_same_prompt_twice_is_one_version(library):
    first = library.add(tuned(seed=1), "first")
    assert library.add(tuned(seed=2), "first") == first
    assert library.entries() == [first]
    assert library.get("first").record["seed"] == 1
    assert library.add(tuned(seed=1), "other").version == first.version
    assert len(library.entries()) == 2


def test_the_newest_is_by_day_and_then_by_order_of_adding(library):
    versions = [
        library.add(tuned(number, created=day), "p").version
        for number, day in enumerate(["2026-03-01", "2026-03-02", "2026-03-02", "2026-01-01"])
    ]
    ordered = [versions[2], versions[1], versions[0], versions[3]]
    assert [entry.version for entry in library.versions("p")] == ordered
    assert library.entry("p").version == ordered[0]
    assert same(library.get("p"), tuned(2))
    undated = library.add(tuned(9), "p")  # made on an unknown day: the day it was added counts
    assert library.entry("p") == undated
    for number, version in enumerate(versions):
        assert same(library.get("p", version[:9]), tuned(number))


def test_folders_give_their_names(shelf, tmp_path):
    assert shelf.add(tuned().save(tmp_path / "Avis clients (2)")).name == "Avis-clients-2"
    assert shelf.add(shelf.fetch("Avis-clients-2")).name == "Avis-clients-2"  # and not the version's digits
    assert shelf.add(tuned(task=replace(TASK, name="spam/mails"))).name == "spam-mails"
    assert len(shelf.entries()) == 2


ESCAPES = [
    "..",
    ".",
    "",
    "../out",
    "a/b",
    "/etc",
    "a\\b",
    ".hidden",
    "C:",
    "a\0b",
    "a\nb",
    "index.json",
    "x" * 81,
    "a.",
    "-a",
]


@pytest.mark.parametrize("name", [*ESCAPES, "a.", "-a"])
def test_names_that_are_none_are_one_line(library, tmp_path, name):
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(CuetuneError, match="is no name for a prompt") as raised:
        library.add(tuned(), name)
    assert "\n" not in str(raised.value)
    assert sorted(tmp_path.rglob("*")) == before


@given(st.text(max_size=100))
def test_every_name_is_one_folder_inside(text):
    for make in (checked_name, as_name):
        try:
            name = make(text)
        except CuetuneError:
            assert make is checked_name
            continue
        place = Path(os.path.normpath(Path("/library") / name / "version"))
        assert place.relative_to("/library").parts == (name, "version")
        assert checked_name(name) == name


@pytest.mark.parametrize(
    ("name", "version", "told"),
    [
        ("sentimant", None, "did you mean 'sentiment'?"),
        ("zzz", None, "it has sentiment, spam."),
        ("../sentiment", None, "no prompt"),
        ("spam", "nope", "no versions of spam begin with 'nope'; it has"),
        ("sentiment", "", "no versions of sentiment begin with ''"),
    ],
)
def test_what_is_not_there_is_told_with_what_is(library, name, version, told):
    library.add(tuned(), "sentiment")
    library.add(tuned(1), "spam")
    for call in (library.get, library.fetch, library.remove, library.lineage):
        with pytest.raises(CuetuneError, match=told.replace("?", "[?]")):
            call(name, version)
    assert len(library.entries()) == 2


def test_a_beginning_that_two_versions_share_is_asked_back(shelf):
    digits = [shelf.add(tuned(number), "p").version for number in range(17)]  # of 17, two begin with the same digit
    twice = next(digit for digit in "0123456789abcdef" if sum(each[0] == digit for each in digits) > 1)
    with pytest.raises(CuetuneError, match=f"versions of p begin with '{twice}'"):
        shelf.entry("p", twice)


def test_a_library_that_is_not_there(tmp_path):
    with pytest.raises(CuetuneError, match="no library there; start one with cuetune library add"):
        PromptLibrary(tmp_path / "none").entries()
    (tmp_path / "file").write_text("x")
    for call in (PromptLibrary(tmp_path / "file").entries, lambda: PromptLibrary(tmp_path / "file").add(tuned())):
        with pytest.raises(CuetuneError, match="file"):
            call()
    (tmp_path / "empty").mkdir()
    assert PromptLibrary(tmp_path / "empty").entries() == []
    with pytest.raises(CuetuneError, match="it is empty"):
        PromptLibrary(tmp_path / "empty").get("p")


def test_folders_of_peft_are_asked_for_their_task(shelf, tmp_path):
    folder = tuned().save(tmp_path / "theirs")
    (folder / "cuetune.json").unlink()
    with pytest.raises(CuetuneError, match="does not say what it is asked"):
        shelf.add(folder)
    shelf.add(TunedPrompt.load(folder, Task(labels=("x", "y"))), "theirs")
    assert shelf.get("theirs").task.labels == ("x", "y")


def test_a_prompt_that_cannot_be_saved_is_not_added(library):
    library.add(tuned(), "p")
    for bad in (tuned(float("nan")), tuned(1, created=7)):
        with pytest.raises(CuetuneError, match="not saved"):
            library.add(bad, "p")
    assert len(library.entries()) == 1


SHELF = {
    "amazon": tuned(1, 0.91, task=replace(TASK, name="amazon reviews"), created="2026-01-01"),
    "tweets": tuned(2, 0.85, task=Task(labels=("bad", "Good"), name="tweets"), backbone="org/tiny-gpt2"),
    "spam": replace(KINDS["hard"], task=Task(labels=("ham", "spam"), instruction="Is it unwanted?", name="spam")),
    "french": tuned(4, 0.2, task=Task(template="Traduis : {text}\n", name="translation")),
}


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({}, ["amazon", "tweets", "french", "spam"]),
        ({"task": "REVIEWS"}, ["amazon"]),
        ({"task": "t"}, ["tweets", "french"]),
        ({"backbone": "tiny-LLAMA"}, ["amazon", "french", "spam"]),
        ({"backbone": "gpt2"}, ["tweets"]),
        ({"backbone": "abab"}, ["amazon", "tweets", "french", "spam"]),
        ({"label": "good"}, ["tweets"]),
        ({"label": "po"}, []),
        ({"kind": "Hard"}, ["spam"]),
        ({"min_score": 0.85}, ["amazon", "tweets"]),
        ({"min_score": 0.0}, ["amazon", "tweets", "french"]),
        ({"text": "unwanted"}, ["spam"]),
        ({"text": "sentiment review"}, ["amazon"]),
        ({"text": "sentiment spam"}, []),
        ({"text": "tiny", "min_score": 0.8, "label": "pos"}, ["amazon"]),
    ],
)
def test_search_meets_every_condition_and_puts_the_best_first(shelf, asked, found):
    for name, made in SHELF.items():
        shelf.add(made, name)
    assert [entry.name for entry in shelf.search(**asked)] == found


def test_versions_are_removed_one_by_one_or_all(library):
    kept = library.add(tuned(7), "kept")
    first, second, third = (library.add(tuned(number), "p") for number in range(3))
    assert library.remove("p", second.version) == [second]
    assert library.entries() == [kept, third, first]
    assert library.remove("p") == [third, first]
    assert library.entries() == [kept]
    assert same(library.get("kept"), tuned(7))
    assert not [path for path in library.storage.files() if path.startswith("p/")]
    assert library.add(tuned(1), "p").version == second.version
    assert same(library.get("p"), tuned(1))


def test_what_is_no_part_of_a_prompt_is_not_removed(shelf):
    entry = shelf.add(tuned(), "p")
    for place in ("notes.txt", ".git"):
        path = shelf.fetch("p") / place
        path.mkdir() if place == ".git" else path.write_text("years of work")
        with pytest.raises(CuetuneError, match=f"holds '{place}'"):
            shelf.remove("p")
        assert path.exists()
        path.rmdir() if place == ".git" else path.unlink()
    assert shelf.remove("p") == [entry]
    assert not (shelf.storage.root / "p").exists()


def test_a_copy_from_an_address_is_kept_and_renewed(library, monkeypatch):
    library.add(tuned(seed=1), "p")
    folder = library.fetch("p")
    asked = []
    read = type(library.storage).read
    monkeypatch.setattr(
        type(library.storage), "read", lambda self, path, size=None: asked.append(path) or read(self, path, size)
    )
    assert library.fetch("p") == folder
    assert not [path for path in asked if path.endswith(".safetensors")]
    library.remove("p")
    library.add(tuned(seed=2), "p")
    assert library.get("p").record["seed"] == 2


def test_leftovers_of_killed_processes_go_after_a_day(shelf):
    entry = shelf.add(tuned(), "p")
    home = shelf.storage.root / "p"
    old, new, other = (home / name for name in (f".{entry.version}.ab12.partial", ".0.cd34.partial", ".git"))
    for path in (old, new, other):
        path.mkdir()
        os.utime(path, (0, 0 if path != new else time.time()))
    shelf.add(tuned(1), "p")
    assert [path.exists() for path in (old, new, other)] == [False, True, True]
    assert len(shelf.entries()) == 2


def test_the_digest_is_that_of_the_content_alone(library):
    made = tuned(0, 0.9, seed=1)
    entry = library.add(made, "p")
    for again in (
        made,
        library.get("p"),
        tuned(),
        replace(made, backbone=replace(made.backbone, name="/x/tiny-llama")),
    ):
        assert digest(again) == entry.digest
    assert entry.version == entry.digest[:16]
    others = [
        tuned(1e-7),
        tuned(task=replace(TASK, name="other")),
        tuned(task=replace(TASK, label_words=("a", "b"))),
        tuned(backbone="other"),
        replace(made, backbone=replace(made.backbone, weights_hash="ef" * 32)),
        *(KINDS[kind] for kind in ("hard", "prefix", "with a head")),
        replace(KINDS["hard"], prompt=HardPrompt([4, 0, 8], KINDS["hard"].prompt.embeddings)),
    ]
    found = [digest(other) for other in others]
    assert len({entry.digest, *found}) == 1 + len(others)


def test_keys_that_later_versions_add_leave_digests_as_they_are(shelf):
    """The digest does not change with a key that has a default, whether the file is older than the key or newer."""

    class Later(PromptFile):
        more: str | None = None

    entry = shelf.add(tuned(), "p")
    path = shelf.fetch("p") / "cuetune.json"
    values = json.loads(path.read_text())
    assert digest_of(Later.model_validate(values)) == entry.digest
    assert digest_of(Later.model_validate({**values, "more": "said"})) != entry.digest
    del values["backbone"]["state_size"], values["backbone"]["kind"]
    path.write_text(json.dumps(values))
    assert shelf.entry("p").digest == entry.digest
