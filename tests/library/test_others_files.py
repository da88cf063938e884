"""A library in a folder of a user's: what lies there stays as it is, and the library works all the same."""

import json

import pytest
from made import tuned

from cuetune.errors import CuetuneError
from cuetune.library.collection import PromptLibrary

USERS = ['{"my": 1}', '{"format": "html", "sha256": 1, "entries": {}}', '{\n "name": "site"}', "<html>", "[1, 2]"]


@pytest.mark.parametrize("content", USERS)
def test_a_users_index_json_stays_and_the_prompts_are_listed(tmp_path, content):
    index = tmp_path / "site" / "index.json"
    index.parent.mkdir()
    index.write_text(content)
    library = PromptLibrary(tmp_path / "site")
    added = library.add(tuned(), "p")
    for _ in range(2):
        entries, faults = library.survey()
        assert entries == [added]
        assert any("index.json" in fault and "stays" in fault for fault in faults)
    assert index.read_text() == content


def test_a_users_index_json_that_came_later_stays_too(tmp_path):
    library = PromptLibrary(tmp_path)
    library.add(tuned(), "p")
    library.entries()
    (tmp_path / "index.json").write_text('{"my": 1}')
    library.entries()
    assert json.loads((tmp_path / "index.json").read_text()) == {"my": 1}


def test_an_index_from_before_libraries_were_marked_is_known(tmp_path):
    library = PromptLibrary(tmp_path)
    library.add(tuned(), "p")
    library.entries()
    (tmp_path / ".cuetune").unlink()
    library.add(tuned(1), "q")
    assert len(library.entries()) == 2
    assert "q/" in (tmp_path / "index.json").read_text()


def test_a_users_folder_in_the_place_of_a_version_stays(tmp_path):
    library = PromptLibrary(tmp_path)
    entry = library.add(tuned(), "p")
    library.remove("p")
    place = tmp_path / entry.path
    place.mkdir(parents=True)
    (place / "thesis.txt").write_text("years of work")
    with pytest.raises(CuetuneError):
        library.add(tuned(), "p")
    assert (place / "thesis.txt").read_text() == "years of work"
