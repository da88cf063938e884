"""`cuetune tune --config`: a file of options; mistakes in it are one line that names file and key."""

import json

import pytest
import typer

import tiny
from cuetune.cli.compare import compare
from cuetune.cli.config import from_file
from cuetune.cli.expand import command_of


@pytest.fixture
def started(tmp_path, monkeypatch):
    """A config for a tiny run in an empty folder; returns a function that adds lines to it."""
    monkeypatch.chdir(tmp_path)
    tiny.write_csv(tmp_path / "rows.csv", [{"body": row["text"], "tag": row["label"]} for row in tiny.rows(40)])
    model = json.dumps(str(tiny.folder()))
    plain = f'data = "rows.csv"\nto = "saved"\nmodel = {model}\ntext = "body"\nlabel = "tag"\nbaselines = false\n'

    def write(more="", without=""):
        lines = [line for line in plain.splitlines() if not without or not line.startswith(without)]
        (tmp_path / "run.toml").write_text("\n".join([*lines, more]), encoding="utf-8")
        return tmp_path / "run.toml"

    return write


def saved(tmp_path):
    return json.loads((tmp_path / "saved" / "cuetune.json").read_text())


def test_a_file_says_what_the_command_line_would_and_gives_way_to_it(cuetune, started, tmp_path):
    more = 'steps = 3\nevaluate-every = 1\nlabels = ["pos", "neg"]\nlength = 5\n'
    code, _, err = cuetune("tune", "--config", started(more), "--steps", 2)
    assert code == 0, err
    made = saved(tmp_path)
    assert made["record"]["settings"]["steps"] == 2
    assert made["record"]["settings"]["length"] == 5
    assert made["task"]["labels"] == ["pos", "neg"]
    assert set(made["record"]["scores"]) == {"tuned"}


def test_numbers_may_be_a_list(tmp_path):
    (tmp_path / "c.toml").write_text("sizes = [64, 1000]\n", encoding="utf-8")
    context = typer.Context(command_of(compare))
    from_file(context, tmp_path / "c.toml")
    assert context.default_map == {"sizes": "64,1000"}


def test_tables_are_pairs(cuetune, started, tmp_path):
    more = "steps = 1\nprompt = 'ultra-low'\ntemplate = '{text} is'\n"
    more += 'prompt-options = {rank = 4}\ncolumns = {text = "body"}\n'
    code, _, err = cuetune("tune", "--config", started(more, without="text"))
    assert code == 0, err
    assert saved(tmp_path)["record"]["settings"]["prompt_options"] == {"rank": "4"}
    assert saved(tmp_path)["task"]["columns"] == {"text": "body"}


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("stepz = 3", "run.toml: unknown key 'stepz'; did you mean 'steps'?"),
        ("config = 'a'", "run.toml: unknown key 'config'; known: data, "),
        ("steps = 'many'", "run.toml, key 'steps': 'many': input should be a valid integer"),
        ("steps = 1.5", "run.toml, key 'steps': 1.5: input should be a valid integer"),
        ("labels = 3", "run.toml, key 'labels': 3: input should be a valid list"),
        ("template = ['a']", "run.toml, key 'template': ['a']: input should be a valid string"),
        ("generate = 'perhaps'", "run.toml, key 'generate': 'perhaps': input should be a valid boolean"),
        ("steps = 0", "--steps 0: input should be greater than or equal to 1"),
        ("steps", "run.toml: not TOML: "),
    ],
)
def test_mistakes_are_one_line(cuetune, started, tmp_path, line, told):
    code, _, err = cuetune("tune", "--config", started(line))
    assert code == 2
    assert told in err
    assert err.startswith("error: ")
    assert len(err.strip().splitlines()) == 1
    assert not (tmp_path / "saved").exists()


def test_a_missing_or_unreadable_file_is_one_line(cuetune, tmp_path):
    code, _, err = cuetune("tune", "--config", tmp_path / "none.toml")
    assert code == 2
    assert "none.toml: no such file." in err
    (tmp_path / "bytes.toml").write_bytes(b"a = '\xff'")
    code, _, err = cuetune("tune", "--config", tmp_path / "bytes.toml")
    assert code == 2
    assert "bytes.toml: not UTF-8 text" in err
    code, _, err = cuetune("tune", "--config", tmp_path)
    assert code == 2
    assert "cannot be read: Is a directory." in err
