"""Who came from whom: in the record, on the card, and across a library."""

import pytest
from made import tuned

from cuetune.errors import CuetuneError
from cuetune.library.card import card
from cuetune.library.digest import digest
from cuetune.library.tuned import TunedPrompt


def link(relation, name, source):
    return {"relation": relation, "name": name, "digest": digest(source)}


TEACHER, SHARED = tuned(1), tuned(2)
MIDDLE = tuned(3, lineage=[link("distilled from", "teacher", TEACHER), link("shared prompt of", "all", SHARED)])
CHILD = tuned(4, lineage=[link("started from", "middle", MIDDLE)])
GRANDCHILD = tuned(5, lineage=[link("moved from", "child", CHILD)])


def told(kin):
    return [(each.relation, each.name, each.steps, each.entry is not None) for each in kin]


def test_relatives_are_found_as_far_as_they_are_in_the_library(library):
    for name, made in (("teacher", TEACHER), ("middle", MIDDLE), ("child", CHILD), ("grandchild", GRANDCHILD)):
        library.add(made, name)
    ancestors, descendants = library.lineage("child")
    assert told(ancestors) == [
        ("started from", "middle", 1, True),
        ("distilled from", "teacher", 2, True),
        ("shared prompt of", "all", 2, False),
    ]
    assert told(descendants) == [("moved from", "grandchild", 1, True)]
    assert told(library.lineage("teacher").descendants) == [
        ("distilled from", "middle", 1, True),
        ("started from", "child", 2, True),
        ("moved from", "grandchild", 3, True),
    ]
    assert ancestors[1].entry == library.entry("teacher")
    library.remove("middle")  # and what only it knew is not known any more
    assert told(library.lineage("child").ancestors) == [("started from", "middle", 1, False)]
    assert told(library.lineage("teacher").descendants) == []
    assert library.lineage("grandchild").ancestors[0].entry == library.entry("child")


def test_a_forged_circle_ends(shelf):
    first = shelf.add(tuned(1), "first")
    shelf.add(tuned(2, lineage=[link("started from", "first", tuned(1))]), "second")
    path = shelf.fetch("first") / "cuetune.json"
    forged = f'"lineage": [{{"relation": "started from", "name": "second", "digest": "{digest(tuned(2))}"}}]'
    path.write_text(path.read_text().replace('"record": {', f'"record": {{{forged},'))
    ancestors, descendants = shelf.lineage("first")
    assert told(ancestors) == told(descendants) == [("started from", "second", 1, True)]
    assert shelf.entry("first").digest == first.digest


@pytest.mark.parametrize(
    ("lineage", "said"),
    [
        ([{"relation": "stolen from", "name": "x", "digest": "ab" * 32}], "relation"),
        ([{"relation": "started from", "name": "x", "digest": "abc"}], "digest"),
        ([{"relation": "started from", "digest": "ab" * 32}], "name"),
        ([{"relation": "started from", "name": "x", "digest": "ab" * 32, "path": "/home"}], "path"),
        (None, "lineage is null"),
    ],
)
def test_a_lineage_that_is_none_is_not_saved(tmp_path, lineage, said):
    with pytest.raises(CuetuneError, match=f"not saved: record.*{said}"):
        tuned(lineage=lineage).save(tmp_path / "p")


def test_the_record_and_the_card_keep_it(tmp_path):
    again = TunedPrompt.load(MIDDLE.save(tmp_path / "p"))
    assert again.record["lineage"] == MIDDLE.record["lineage"]
    lines = card(again).splitlines()
    assert f"| distilled from | teacher (content SHA-256 `{digest(TEACHER)[:16]}`) |" in lines
    assert f"| shared prompt of | all (content SHA-256 `{digest(SHARED)[:16]}`) |" in lines
    rude = tuned(lineage=[{"relation": "started from", "name": "a|b\n# c", "digest": "ab" * 32}])
    assert "| started from | a\\|b \\# c (content" in card(rude)
    assert "started from" not in card(tuned())
