"""The index is never the truth: lost, broken, old or lying, the library is what its prompts say; damage is told."""

import json
import shutil

import pytest
from made import same, tuned

from cuetune.errors import CuetuneError
from cuetune.library.index import survey


def filled(library):
    for number in range(3):
        library.add(tuned(number, 0.5 + number / 10), f"p{number}")
    return library.entries()


def the_index(library):
    return json.loads(library.storage.read("index.json"))


def spoil(library, how):
    """An index that is not that of the library."""
    whole = library.storage.read("index.json").decode()
    values = json.loads(whole)
    paths = list(values["entries"])
    if how == "garbage":
        return "\0" * 40
    if how == "cut short":
        return whole[: len(whole) // 2]
    if how == "empty":
        return ""
    if how == "deep":
        return "[" * 100_000
    if how == "another shape":
        return "[1, 2]"
    if how == "another format":
        return json.dumps({**values, "format": 99})
    if how == "a better score":
        values["entries"][paths[0]][1]["scores"]["accuracy"]["value"] = 1.0
    if how == "a prompt that is not there":
        values["entries"]["ghost/0123456789abcdef"] = values["entries"][paths[0]]
    if how == "two that changed places":
        values["entries"] = dict(zip(paths[::-1], values["entries"].values(), strict=True))
    if how == "one missing":
        del values["entries"][paths[0]]
    return json.dumps(values)


HOWS = ["garbage", "cut short", "empty", "deep", "another shape", "another format", "a better score"]
HOWS += ["a prompt that is not there", "two that changed places", "one missing"]


@pytest.mark.parametrize("how", HOWS)
def test_a_spoiled_index_changes_nothing_and_is_made_anew(library, how):
    truth, whole = filled(library), the_index(library)
    library.storage.write("index.json", spoil(library, how))
    assert library.entries() == truth
    assert the_index(library) == whole


def test_a_lost_or_old_index_changes_nothing(shelf):
    truth = filled(shelf)
    index = shelf.storage.root / "index.json"
    old = index.read_text()
    index.unlink()
    assert shelf.entries() == truth
    index.unlink()
    index.mkdir()  # cannot even be written
    assert shelf.entries() == truth
    index.rmdir()
    added = shelf.add(tuned(9), "p9")
    removed = shelf.remove("p0")
    shelf.entries()
    index.write_text(old)
    assert shelf.entries() == [each for each in [*truth, added] if each not in removed]


def test_the_index_of_another_library_changes_nothing(shelf, tmp_path):
    truth = filled(shelf)
    copy = type(shelf)(tmp_path / "copy")
    shutil.copytree(shelf.storage.root, tmp_path / "copy")
    copy.add(tuned(8), "p8")
    copy.entries()
    shutil.copy(tmp_path / "copy" / "index.json", shelf.storage.root / "index.json")
    assert shelf.entries() == truth


def test_a_listing_reads_the_index_and_nothing_that_has_not_changed(library, monkeypatch):
    truth = filled(library)
    asked = []
    read = type(library.storage).read
    monkeypatch.setattr(
        type(library.storage), "read", lambda self, path, size=None: asked.append(path) or read(self, path, size)
    )
    assert library.entries() == truth
    assert asked == ["index.json"]
    added = library.add(tuned(9), "p9")
    asked.clear()
    assert library.entries() == [*truth, added]
    assert {path.rpartition("/")[0] for path in asked} == {"", added.path}


def damage(folder, how):
    record, weights = folder / "cuetune.json", folder / "adapter_model.safetensors"
    values = json.loads(record.read_text())
    if how == "no record":
        record.unlink()
    elif how == "record cut short":
        record.write_text(record.read_text()[:-30])
    elif how == "record of bytes":
        record.write_bytes(b"\xff\xfe\x00")
    elif how == "record too deep":
        record.write_text("[" * 100_000)
    elif how == "wrong type":
        record.write_text(json.dumps({**values, "task": {**values["task"], "labels": "oops"}}))
    elif how == "newer format":
        record.write_text(json.dumps({**values, "format": 99, "more": 1}))
    elif how == "another task":
        record.write_text(json.dumps({**values, "task": {**values["task"], "template": "{other}"}}))
    elif how == "record is a folder":
        record.unlink()
        record.mkdir()
    elif how == "record is a link outside":
        record.rename(folder.parents[2] / "outside.json")
        record.symlink_to(folder.parents[2] / "outside.json")
    elif how == "no weights":
        weights.unlink()
    elif how == "weights cut short":
        weights.write_bytes(weights.read_bytes()[:-4])
    elif how == "weights cut in the header":
        weights.write_bytes(weights.read_bytes()[:20])
    elif how == "weights empty":
        weights.write_bytes(b"")
    elif how == "no configuration":
        (folder / "adapter_config.json").unlink()


DAMAGES = {
    "no record": "no cuetune.json: it is being written, or its writing was cut off",
    "record cut short": "cuetune.json: not JSON",
    "record of bytes": "cuetune.json: not JSON",
    "record too deep": "cuetune.json: not JSON",
    "wrong type": "cuetune.json: task.labels",
    "newer format": "format 99 is newer than this cuetune reads",
    "another task": "its content was altered",
    "record is a folder": "cuetune.json",
    "record is a link outside": "cuetune.json: is not a plain file of the library",
    "no weights": "no adapter_model.safetensors; add the prompt again",
    "weights cut short": "adapter_model.safetensors: not a whole safetensors file",
    "weights cut in the header": "adapter_model.safetensors: not a whole safetensors file",
    "weights empty": "adapter_model.safetensors: not a whole safetensors file",
    "no configuration": "no adapter_config.json",
}


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_prompt_is_told_and_does_not_hide_the_others(shelf, how):
    truth = filled(shelf)
    damage(shelf.fetch("p1"), how)
    entries, faults = shelf.survey()
    assert entries == [truth[0], truth[2]]
    assert len(faults) == 1
    assert faults[0].startswith(f"{truth[1].path}: ")
    assert DAMAGES[how] in faults[0]
    assert "\n" not in faults[0]
    with pytest.raises(CuetuneError, match="no prompt 'p1'"):
        shelf.get("p1")
    again = shelf.add(tuned(1, 0.6), "p1")  # and added once more it is whole
    assert same(shelf.get("p1"), tuned(1))
    assert shelf.survey() == ([truth[0], again, truth[2]], [])


def test_numbers_that_were_altered_are_refused_when_they_are_loaded(shelf):
    filled(shelf)
    weights = shelf.fetch("p1") / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    with pytest.raises(CuetuneError, match="SHA-256 differs"):
        shelf.get("p1")


def test_strangers_in_the_folder_are_told_and_left_alone(shelf, tmp_path):
    truth = filled(shelf)
    root = shelf.storage.root
    tuned(7).save(root / "not-added")
    tuned(7).save(root / "p1" / "not-a-version")
    for folder in ("data/deep/er", ".git/objects/ab", "empty"):
        (root / folder).mkdir(parents=True)
    (root / "data/deep/er/rows.csv").write_text("text")
    (root / "README.md").write_text("Ours.")
    (root / "loop").symlink_to(root)
    (root / "p2" / ("ab" * 8)).symlink_to(tmp_path)
    before = sorted(root.rglob("*"))
    entries, faults = shelf.survey()
    assert entries == truth
    assert faults == [
        "data: holds no prompt.",
        "not-added: a saved prompt that was put here but not added; add its folder to have it listed.",
        "p1: not-a-version: no version of a prompt.",
        f"p2: {'ab' * 8}: no version of a prompt.",
    ]
    assert sorted(root.rglob("*")) == before


def test_a_library_that_is_only_read_answers_all_the_same(shelf, monkeypatch):
    truth = filled(shelf)
    (shelf.storage.root / "index.json").unlink()

    def refuse(*_, **__):
        raise OSError(30, "Read-only file system")

    for place in ("tempfile.mkstemp", "tempfile.mkdtemp", "pathlib.Path.mkdir", "os.rename"):
        monkeypatch.setattr(place, refuse)
    assert shelf.entries() == truth
    assert same(shelf.get("p1"), tuned(1))
    for call in (lambda: shelf.add(tuned(9), "p9"), lambda: shelf.remove("p1")):
        with pytest.raises(CuetuneError, match="Read-only file system"):
            call()
    assert survey(shelf.storage)[1] == []
    assert shelf.entries() == truth
