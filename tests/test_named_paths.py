"""Names that no file system takes are one plain line, wherever they are given."""

import pytest

import cuetune
from cuetune.api.tune import tune
from cuetune.backbones.registry import load_backbone
from cuetune.cli import main
from cuetune.data.reading import read_rows
from cuetune.errors import CuetuneError
from cuetune.library.collection import PromptLibrary
from cuetune.support.named_paths import possible

NAMES = ("x" * 5000, "d/" * 3000, "x" * 300 + ".csv")
ROWS = [{"text": f"{word} {number}", "label": word} for number in range(8) for word in ("good", "bad")]


@pytest.mark.parametrize("name", [*NAMES, "a\0b"])
@pytest.mark.parametrize(
    "use",
    [
        cuetune.load,
        load_backbone,
        PromptLibrary,
        lambda name: cuetune.check(name),
        lambda name: next(iter(read_rows(name))),
        lambda name: tune(ROWS, name),
        lambda name: tune(name, "p"),
    ],
    ids=["load", "model", "library", "check", "rows", "to", "data"],
)
def test_a_name_that_is_too_long_is_one_line_in_python(name, use):
    with pytest.raises(CuetuneError, match="no path that can be used") as refused:
        use(name)
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize(
    "words",
    [
        ["tune", "LONG", "--to", "p"],
        ["tune", "rows.csv", "--to", "LONG"],
        ["tune", "rows.csv", "--model", "LONG", "--to", "p"],
        ["check", "LONG"],
        ["predict", "LONG", "rows.csv", "--to", "o.csv"],
        ["predict", "p", "rows.csv", "--to", "LONG"],
        ["evaluate", "LONG", "rows.csv"],
        ["show", "LONG"],
        ["library", "list", "LONG"],
        ["library", "add", "lib", "LONG"],
        ["learn", "LONG", "--to", "p"],
        ["multitask", "train", "LONG", "--to", "p"],
        ["multitask", "adapt", "LONG", "rows.csv", "--to", "p"],
        ["search", "rows.csv", "--to", "LONG"],
        ["fix", "LONG", "rows.csv"],
        ["recycle", "LONG", "--to", "p", "--model", "x"],
        ["worth", "LONG", "--to", "p"],
    ],
    ids=" ".join,
)
def test_a_name_that_is_too_long_is_one_line_of_the_command(tmp_path, monkeypatch, capfd, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.csv").write_text("text,label\n" + "good,yes\nbad,no\n" * 8)
    monkeypatch.setattr("sys.argv", ["cuetune", *("x" * 5000 if word == "LONG" else word for word in words)])
    with pytest.raises(SystemExit) as left:
        main.main()
    assert left.value.code == 2
    said = capfd.readouterr().err
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    assert "too long" in said
    assert [path.name for path in tmp_path.iterdir()] == ["rows.csv"]


def test_ordinary_names_pass():
    assert possible("imdb@train") == "imdb@train"
