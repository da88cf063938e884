"""STREAM.yaml: what it says, and one line for every way to get it wrong."""

import textwrap
from pathlib import Path

import pytest

from cuetune.data.stream import read_stream_file
from cuetune.errors import CuetuneError

EXAMPLES = Path(__file__).parents[2] / "examples" / "streams"
TASKS = """\
model: smollm2-135m
template: "Review: {text}\\nSentiment:"
rows: 50

tasks:
  - name: tweets
    data: tweets.csv
    labels: [bad, good]
  - name: films
    data: films.csv
    where: {lang: en}
    rows: 20
    columns: {text: body}
"""


def write(folder, text):
    for name in ("tweets.csv", "films.csv"):
        (folder / name).write_text("text,label\na,good\n")
    path = folder / "STREAM.yaml"
    path.write_text(textwrap.dedent(text))
    return path


def fault(folder, text):
    """The error without the folder's name."""
    with pytest.raises(CuetuneError) as error:
        read_stream_file(write(folder, text))
    assert "\n" not in str(error.value)
    return str(error.value).replace(f"{folder}/", "")


def test_tasks_have_their_own_keys_and_the_files(tmp_path):
    spec = read_stream_file(write(tmp_path, TASKS))
    tweets, films = spec.sources
    assert (spec.model, spec.kind, spec.divide) == ("smollm2-135m", None, None)
    assert spec.common == {"template": "Review: {text}\nSentiment:"}
    assert (tweets.name, tweets.data, tweets.rows) == ("tweets", str(tmp_path / "tweets.csv"), 50)
    assert tweets.options == {"labels": ("bad", "good")}
    assert (films.rows, films.select, films.options) == (20, {"lang": "en"}, {"columns": {"text": "body"}})
    assert films.where == f"{tmp_path}/STREAM.yaml, line 9: task 'films'"


def test_one_source_for_all_tasks(tmp_path):
    shared = "data: films.csv\nlabel: kind\ntasks:\n  - name: a\n    where: {style: x}\n  - name: b\n    label: other\n"
    a, b = read_stream_file(write(tmp_path, shared)).sources
    assert a.data == b.data == str(tmp_path / "films.csv")
    assert (a.options, b.options) == ({"label": "kind"}, {"label": "other"})


def test_a_source_that_is_dealt(tmp_path):
    text = "data: films.csv\nmodel: dinov2-small@98\ndivide: 5\nclass_order: 2\n"
    text += "domains: style\nvalues: [b, a]\ngroup_by: name\n"
    spec = read_stream_file(write(tmp_path, text))
    assert (spec.model, spec.divide, spec.class_order, spec.domains) == ("dinov2-small@98", 5, 2, "style")
    assert (spec.values, spec.group_by, len(spec.sources)) == (("b", "a"), "name", 1)


def test_words_follow_the_labels(tmp_path):
    text = 'data: films.csv\ndivide: 2\nlabels: [bad, good]\nlabel_words: [" poor", " great"]\n'
    assert read_stream_file(write(tmp_path, text)).words == {"bad": " poor", "good": " great"}


def test_data_of_a_task_that_is_learned_may_be_gone(tmp_path):
    path = write(tmp_path, TASKS)
    (tmp_path / "tweets.csv").unlink()
    with pytest.raises(CuetuneError, match="line 7: task 'tweets': data: no file or folder"):
        read_stream_file(path)
    assert [source.gone for source in read_stream_file(path, finished=["tweets"]).sources] == [True, False]


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("data: films.csv\ndivde: 3\n", 2, "unknown key 'divde'; did you mean 'divide'?"),
        (TASKS.replace("where:", "wheer:"), 11, "task 'films': unknown key 'wheer'; did you mean 'where'?"),
        (TASKS.replace("films.csv", "flims.csv"), 10, "no file or folder 'flims.csv'. Did you mean 'films.csv'?"),
        (TASKS.replace("films.csv", "./pictures"), 10, "no file or folder 'pictures'."),
        ("data: ./pictures\ndivide: 2\n", 1, "no file or folder 'pictures'."),
        (TASKS.replace("name: films", "name: Tweets"), 9, "the name stands on line 6 already"),
        (TASKS.replace("    data: films.csv\n", ""), 9, "task 'films': no key 'data', neither here nor above `tasks`"),
        (TASKS + "    template: '{text}'\n", 9, "`template` is the same for all tasks of a stream"),
        (TASKS + "    validation: tweets.csv\n", 9, "say `validation_fraction: 0.1` above `tasks`"),
        (TASKS + "divide: 3\n", 1, "both are here"),
        ("model: smollm2-135m\n", 1, "there is neither"),
        ("divide: 3\n", 1, "name it with `data`"),
        ("data: films.csv\ndivide: 3\nvalues: [a]\n", 1, "name it with `domains`"),
        ("data: films.csv\ndivide: 3\nlabel_words: [a, b]\n", 1, "write those above `tasks` too"),
        ("data: films.csv\ndivide: three\n", 2, "divide: found 'three', expected a whole number."),
        ("data: films.csv\ndivide: 0\n", 2, "divide: found '0', expected at least 1."),
        ("data: films.csv\ndivide: 2\nkind: tasks\n", 3, "kind: "),
        ("data: films.csv\ndivide: 2\ngenerate: true\n", 1, "Remove `generate`"),
        ("tasks: []\n", 1, "there is neither"),
    ],
)
def test_faults_are_named_by_their_line(tmp_path, text, line, said):
    found = fault(tmp_path, text)
    assert found.startswith(f"STREAM.yaml, line {line}: ")
    assert said in found


def test_the_examples_are_sound():
    specs = {path.stem: read_stream_file(path) for path in EXAMPLES.glob("*.yaml")}
    assert specs["emoji"].divide == 10
    assert specs["stamps"].values == ("drawing", "cartoon", "photo")
    assert [source.name for source in specs["reviews"].sources] == ["tweets", "products", "movies", "editorials"]
