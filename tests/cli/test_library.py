"""`cuetune library`: what the lists say, commands that can be copied, mistakes as one line."""

import shlex

import pytest
import torch

from cuetune.backbones.identity import BackboneIdentity
from cuetune.data.task import Task
from cuetune.library.collection import PromptLibrary
from cuetune.library.digest import digest
from cuetune.library.tuned import TunedPrompt
from cuetune.prompts import SoftPrompt

IDENTITY = BackboneIdentity("tiny-llama", None, "ab" * 32, "cd" * 32, "llama", 6, 2, 2)


def tuned(number=0.0, score=0.5, labels=("neg", "pos"), task="reviews", **record):
    scores = {"tuned": {"accuracy": {"value": score, "low": score - 0.1, "high": score + 0.1}}}
    words = torch.full((5, 6), number)
    record = {"created": "2026-01-02", "scores": scores, "scored_rows": 9, **record}
    return TunedPrompt(SoftPrompt(words), Task(labels=labels, name=task), IDENTITY, record)


@pytest.fixture
def place(tmp_path):
    """A library with two versions of one prompt and one of another, in a folder whose name needs quotes."""
    library = PromptLibrary(tmp_path / "our prompts")
    library.add(tuned(1.0, 0.75), "reviews")
    first = {"relation": "started from", "name": "reviews", "digest": digest(tuned(1.0))}
    library.add(tuned(2.0, 0.8125, created="2026-01-03", lineage=[first]), "reviews")
    library.add(tuned(3.0, 0.9, ("ham", "spam"), "mails"), "spam")
    return tmp_path / "our prompts"


def next_command(out):
    return next(shlex.split(line.removeprefix("next:")) for line in out.splitlines() if line.startswith("next:"))


def flat(out):
    return " ".join(out.split())


def test_list_shows_the_newest_of_each_and_what_was_passed_over(cuetune, place):
    (place / "odd" / "thing").mkdir(parents=True)
    (place / "odd" / "thing" / "file").write_text("")
    newest = PromptLibrary(place).entry("reviews")
    code, out, err = cuetune("library", "list", place)
    assert (code, err) == (0, "")
    assert f"│ reviews │ {newest.version} │ 2 │ reviews │ neg, pos │ soft, 5 │ tiny-llama │ accuracy 0.812 │" in flat(
        out
    )
    assert "accuracy 0.900" in out
    assert "0.750" not in out
    assert "passed over: odd: holds no prompt." in out
    assert next_command(out) == ["cuetune", "library", "show", str(place), "reviews"]


def test_names_and_versions_stay_whole_in_a_narrow_terminal(cuetune, place, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    _, out, _ = cuetune("library", "list", place)
    assert all(entry.version in out for entry in (PromptLibrary(place).entry(name) for name in ("reviews", "spam")))


def test_an_empty_library_says_how_to_begin(cuetune, tmp_path):
    (tmp_path / "lib").mkdir()
    code, out, _ = cuetune("library", "list", tmp_path / "lib")
    assert code == 0
    assert next_command(out) == ["cuetune", "library", "add", str(tmp_path / "lib"), "PROMPT"]


def test_a_saved_prompt_is_added_under_its_name_or_another(cuetune, tmp_path):
    folder = tuned(7.0).save(tmp_path / "seven")
    for words, name, count in (((), "seven", 1), (("--name", "lucky"), "lucky", 1), ((), "seven", 1)):
        code, out, err = cuetune("library", "add", tmp_path / "lib", folder, *words)
        assert (code, err) == (0, "")
        entry = PromptLibrary(tmp_path / "lib").entry(name)
        assert f"{name} is in {tmp_path / 'lib'} as version {entry.version}, one of {count}" in out
        assert next_command(out) == ["cuetune", "library", "show", str(tmp_path / "lib"), name]


def test_show_is_the_page_with_versions_and_lineage(cuetune, place):
    library = PromptLibrary(place)
    newest, oldest = library.versions("reviews")
    code, out, err = cuetune("library", "show", place, "reviews")
    assert (code, err) == (0, "")
    assert "versions of reviews" in out
    assert f"{newest.version} │ 2026-01-03 │ {newest.added[:16]} │ accuracy 0.812 │ this one" in flat(out)
    assert f"started from reviews (version {oldest.version})" in out
    assert "a soft prompt for tiny-llama" in out
    assert next_command(out)[:3] == ["cuetune", "predict", str(place / "reviews" / newest.version)]
    _, out, _ = cuetune("library", "show", place, "reviews", "--version", oldest.version[:8])
    assert f"reviews (version {newest.version}) was made from it: started from" in out


def test_search_lists_versions_best_first(cuetune, place):
    code, out, err = cuetune("library", "search", place, "--min-score", "0.8")
    assert (code, err) == (0, "")
    assert out.index("accuracy 0.900") < out.index("accuracy 0.812")
    spam = PromptLibrary(place).entry("spam")
    assert next_command(out) == ["cuetune", "library", "show", str(place), "spam", "--version", spam.version]
    _, out, _ = cuetune("library", "search", place, "pos", "neg", "--task", "view", "--backbone", "tiny")
    assert "0.900" not in out
    assert "0.750" in out
    _, out, _ = cuetune("library", "search", place, "--label", "spam", "--kind", "soft")
    assert "mails" in out
    assert "0.750" not in out
    code, out, _ = cuetune("library", "search", place, "cooking")
    assert (code, "meets that" in out) == (0, True)
    assert next_command(out) == ["cuetune", "library", "list", str(place)]


def test_of_several_versions_the_one_to_remove_is_named(cuetune, place):
    library = PromptLibrary(place)
    newest, oldest = library.versions("reviews")
    code, _, err = cuetune("library", "remove", place, "reviews")
    assert code == 2
    assert f"reviews has 2 versions ({newest.version}, {oldest.version}); say which" in err
    assert cuetune("library", "remove", place, "reviews", "--all", "--version", "a")[0] == 2
    assert len(library.entries()) == 3
    code, out, _ = cuetune("library", "remove", place, "reviews", "--version", oldest.version[:8])
    assert (code, f"removed reviews, version {oldest.version}" in out) == (0, True)
    assert library.versions("reviews") == [newest]
    assert cuetune("library", "remove", place, "spam")[0] == 0
    library.add(tuned(5.0), "reviews")
    assert cuetune("library", "remove", place, "reviews", "--all")[0] == 0
    assert library.entries() == []


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("show", "{}", "revews"), "did you mean 'reviews'?"),
        (("remove", "{}", "nothing-like-it"), "it has reviews, spam."),
        (("list", "{}/none"), "no library there"),
        (("search", "{}/none", "x"), "no library there"),
        (("add", "{}", "{}/nowhere"), "no such folder"),
        (("add", "{}", "{}/spam", "--name", "../up"), "is no name for a prompt"),
        (("list", "reference://x"), "plain storage"),
    ],
)
def test_mistakes_are_one_line(cuetune, place, words, told):
    if words[-1] == "../up":
        tuned().save(place / "spam" / "x")
        words = (*words[:2], f"{place}/spam/x", *words[3:])
    code, _, err = cuetune("library", *(word.format(place) for word in words))
    assert code == 2
    assert told in err
    assert err.startswith("error: ")
    assert len(err.strip().splitlines()) == 1


NASTY = "[/bold] [red]x[/red] \x1b[31m \x07"


def test_strangers_words_steer_neither_rich_nor_the_terminal(cuetune, tmp_path):
    link = {"relation": "started from", "name": NASTY, "digest": "ab" * 32}
    library = PromptLibrary(tmp_path / "lib")
    library.add(tuned(labels=(NASTY, "b"), task=NASTY, created=NASTY, lineage=[link]), "p")
    odd = tmp_path / "lib" / NASTY.replace("/", "")
    odd.mkdir()
    (odd / "file").write_text("")
    for words in (("list",), ("search",), ("show", "p")):
        code, out, err = cuetune("library", words[0], tmp_path / "lib", *words[1:])
        assert (code, err) == (0, "")
        assert "[red]x[/red]" in out.replace("\n", "")
        assert "\x1b" not in out
        assert "\x07" not in out


def test_a_long_listing_is_plain_lines_that_hold_every_word(cuetune, place, monkeypatch):
    newest = PromptLibrary(place).entry("reviews")
    monkeypatch.setattr("cuetune.cli.library.MOST_IN_TABLE", 1)
    code, out, err = cuetune("library", "list", place)
    assert (code, err) == (0, "")
    heading, first, second, _ = out.splitlines()
    assert first.split("  ")[0].strip() == "reviews"
    assert newest.version in first
    assert "accuracy 0.812" in first
    assert second.startswith("spam")
    assert "ham, spam" in second
    assert heading.index("model") == first.index("tiny-llama") == second.index("tiny-llama")  # aligned


def test_strangers_words_steer_no_terminal_from_plain_lines(cuetune, tmp_path, monkeypatch):
    monkeypatch.setattr("cuetune.cli.library.MOST_IN_TABLE", 0)
    PromptLibrary(tmp_path).add(tuned(1.0, task="a\x1b]0;PWN\a\n[b]"), "reviews")
    _, out, _ = cuetune("library", "list", tmp_path)
    assert r"a\x1b]0;PWN\x07\n[b]" in out
    assert "\x1b" not in out
    assert len(out.splitlines()) == 3
