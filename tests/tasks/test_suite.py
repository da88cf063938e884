"""TASKS.yaml: what it says, and one line for every way to get it wrong."""

import textwrap
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cuetune.data.suite import SuiteFile, TaskEntry, read_suite
from cuetune.data.task import Task
from cuetune.errors import CuetuneError
from cuetune.support.yaml_file import read_lined
from cuetune_catalog.datasets.registry import DATASETS

EXAMPLES = Path(__file__).parents[2] / "examples" / "universal"
GOOD = """\
model: smollm2-135m

tasks:
  - name: tweets
    data: reviews-tweets
    template: "Tweet: {text}\\nSentiment:"
    labels: [no, yes]
    label_words: [" bad", " good"]
    max_tokens: 64
    rows: 100

  # the user's own
  - name: spam
    data: mails.csv
    validation: more/mails.csv
    columns: {text: body}
    generate: false
"""


def write(folder, text, name="TASKS.yaml"):
    (folder / "more").mkdir(exist_ok=True)
    for rows in ("mails.csv", "more/mails.csv"):
        (folder / rows).write_text("text,label\na,b\n")
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else textwrap.dedent(text).encode())
    return path


def fault(folder, text):
    """The error without the folder's name."""
    path = write(folder, text)
    with pytest.raises(CuetuneError) as error:
        read_suite(path)
    assert "\n" not in str(error.value)
    return str(error.value).replace(f"{folder}/", "")


def test_a_file_becomes_tasks_in_its_order(tmp_path):
    suite = read_suite(write(tmp_path, GOOD))
    tweets, spam = suite.tasks
    assert suite.model == "smollm2-135m"
    assert (tweets.name, tweets.data, tweets.rows, tweets.line) == ("tweets", "reviews-tweets", 100, 4)
    assert tweets.options == {
        "name": "tweets",
        "template": "Tweet: {text}\nSentiment:",
        "labels": ("no", "yes"),
        "label_words": (" bad", " good"),
        "max_tokens": 64,
    }
    assert tweets.where == f"{tmp_path}/TASKS.yaml, line 4: task 'tweets'"
    assert (spam.data, spam.validation) == (str(tmp_path / "mails.csv"), str(tmp_path / "more/mails.csv"))
    assert (spam.test, spam.rows, spam.line) == (None, None, 13)
    assert spam.options == {"name": "spam", "columns": {"text": "body"}, "generate": False}
    assert suite["spam"] is spam


def test_the_options_are_what_a_task_is_inferred_from(tmp_path):
    from inspect import signature

    from cuetune.data.row import Row
    from cuetune.data.task_inference import infer_task

    suite = read_suite(write(tmp_path, GOOD))
    options = dict(suite["tweets"].options)
    task = infer_task([Row("row 1", {"text": "well", "label": "yes"})], **options)
    assert task == Task(
        "Tweet: {text}\nSentiment:", "label", ("no", "yes"), (" bad", " good"), task.instruction, {}, 64, "tweets"
    )
    known = {*signature(infer_task).parameters, "encoding", "data", "validation", "test", "rows"} - {"rows"}
    assert set(TaskEntry.model_fields) - {"rows"} <= known


def test_what_is_written_is_meant_and_not_what_yaml_makes_of_it(tmp_path):
    """Labels 0, no and 1e3 are the texts that stand in the data; numbers are read where a number is asked for."""
    suite = read_suite(write(tmp_path, "tasks: [{name: on, data: mails.csv, labels: [0, no, 1e3, 2020-01-01, =]}]"))
    assert suite.tasks[0].name == "on"
    assert suite.tasks[0].options["labels"] == ("0", "no", "1e3", "2020-01-01", "=")


def test_data_is_looked_for_beside_the_file_then_among_names(tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    folder = tmp_path / "here"
    folder.mkdir()
    (folder / "reviews-amazon").mkdir()
    text = "\n".join(
        f"- {{name: n{number}, data: {data}}}"
        for number, data in enumerate(("reviews-amazon", "reviews-amazon@test", "news-topics", "org/set@train", "more"))
    )
    found = [task.data for task in read_suite(write(folder, f"tasks:\n{text}")).tasks]
    beside = str(folder / "reviews-amazon")
    assert found == [beside, f"{beside}@test", "news-topics", "org/set@train", str(folder / "more")]


SPAM = "tasks:\n- name: spam\n  data: mails.csv\n"

FAULTS = {
    "unknown key": (
        SPAM + "  lable: kind\n",
        "TASKS.yaml, line 4: task 'spam': unknown key 'lable'; did you mean 'label'?",
    ),
    "unknown key like no other": (
        SPAM + "  zebra: red\n",
        "TASKS.yaml, line 4: task 'spam': unknown key 'zebra'; known: name, data, validation, test, rows, text, "
        "label, labels, label_words, template, instruction, columns, max_tokens, generate, encoding.",
    ),
    "unknown key of the file": ("modle: x\n" + SPAM, "TASKS.yaml, line 1: unknown key 'modle'; did you mean 'model'?"),
    "a mistyped required key is told before its absence": (
        "tasks:\n- name: spam\n  dat: mails.csv\n",
        "TASKS.yaml, line 3: task 'spam': unknown key 'dat'; did you mean 'data'?",
    ),
    "no data": ("tasks:\n- name: spam\n", "TASKS.yaml, line 2: task 'spam': no key 'data'; add one."),
    "no name": (SPAM + "- data: mails.csv\n", "TASKS.yaml, line 4: task 2: no key 'name'; add one."),
    "no tasks": ("model: x\n", "TASKS.yaml, line 1: no key 'tasks'; add one."),
    "empty list": ("model: x\ntasks: []\n", "TASKS.yaml, line 2: tasks: found an empty list, expected at least 1."),
    "nothing after tasks": (
        "tasks:\n",
        "TASKS.yaml, line 1: tasks: found nothing, expected a list, as in [first, second].",
    ),
    "empty file": ("", "TASKS.yaml, line 1: found nothing, expected keys and values, as in `name: value`."),
    "comments only": ("# soon\n", "TASKS.yaml, line 1: found nothing, expected keys and values, as in `name: value`."),
    "a list": (
        "- name: spam\n",
        "TASKS.yaml, line 1: found a list of 1, expected keys and values, as in `name: value`.",
    ),
    "a text": ("spam", "TASKS.yaml, line 1: found 'spam', expected keys and values, as in `name: value`."),
    "tasks as a mapping": (
        "tasks:\n  spam: {data: mails.csv}\n",
        "TASKS.yaml, line 1: tasks: found a mapping, expected a list, as in [first, second].",
    ),
    "a task that is a name": (
        SPAM + "- news\n",
        "TASKS.yaml, line 4: task 2: found 'news', expected keys and values, as in `name: value`.",
    ),
    "a word for a number": (
        SPAM + "  max_tokens: many\n",
        "TASKS.yaml, line 4: task 'spam': max_tokens: found 'many', expected a whole number.",
    ),
    "half a row": (
        SPAM + "  rows: 1.5\n",
        "TASKS.yaml, line 4: task 'spam': rows: found '1.5', expected a whole number.",
    ),
    "no rows": (SPAM + "  rows: 0\n", "TASKS.yaml, line 4: task 'spam': rows: found '0', expected at least 1."),
    "a list for a number": (
        SPAM + "  rows: [1]\n",
        "TASKS.yaml, line 4: task 'spam': rows: found a list of 1, expected a whole number.",
    ),
    "a word for yes": (
        SPAM + "  generate: maybe\n",
        "TASKS.yaml, line 4: task 'spam': generate: found 'maybe', expected true or false.",
    ),
    "a list for a text": (
        SPAM + "  instruction: [a]\n",
        "TASKS.yaml, line 4: task 'spam': instruction: found a list of 1, expected a text (in quotes, if it begins "
        "with a bracket or brace).",
    ),
    "a template without quotes": (
        SPAM + "  template: {text}\n",
        "TASKS.yaml, line 4: task 'spam': template: found a mapping, expected a text (in quotes, if it begins with a "
        "bracket or brace).",
    ),
    "nothing after a key": (
        SPAM + "  template:\n  rows: 5\n",
        None,  # a key without a value is as good as no key
    ),
    "a text for a list": (
        SPAM + "  labels: ham, spam\n",
        "TASKS.yaml, line 4: task 'spam': labels: found 'ham, spam', expected a list, as in [first, second].",
    ),
    "nothing in a list": (
        SPAM + "  labels:\n  - ham\n  -\n",
        "TASKS.yaml, line 6: task 'spam': labels, item 2: found nothing, expected a text (in quotes, if it begins with "
        "a bracket or brace).",
    ),
    "one label": (
        SPAM + "  labels: [ham]\n",
        "TASKS.yaml, line 4: task 'spam': labels: found a list of 1, expected at least 2.",
    ),
    "a label twice": (
        SPAM + "  labels: [ham, spam, ham]\n",
        "TASKS.yaml, line 4: task 'spam': labels: 'ham' stands in the list twice; each label needs its own.",
    ),
    "too few label words": (
        SPAM + "  labels: [ham, spam, fraud]\n  label_words: [a, b]\n",
        "TASKS.yaml, line 2: task 'spam': 3 labels but 2 label words; give one for each.",
    ),
    "labels for free text": (
        SPAM + "  labels: [ham, spam]\n  generate: true\n",
        "TASKS.yaml, line 2: task 'spam': `generate` is for free text, which has no labels; remove one or the other.",
    ),
    "a template without a column": (
        SPAM + "  template: text\n",
        "TASKS.yaml, line 4: task 'spam': template: 'text' names no column; write one in braces, as in '{text}'.",
    ),
    "a list for columns": (
        SPAM + "  columns: [text]\n",
        "TASKS.yaml, line 4: task 'spam': columns: found a list of 1, expected names and values, as in {text: body}.",
    ),
    "a name twice": (
        SPAM + "- name: news\n  data: news-topics\n- name: Spam\n  data: mails.csv\n",
        "TASKS.yaml, line 6: task 'Spam': the name stands on line 2 already; choose another.",
    ),
    "a name that is no folder": (
        "tasks:\n- name: a/b\n  data: mails.csv\n",
        "TASKS.yaml, line 2: task 'a/b': name: 'a/b' cannot name a folder; use letters, digits, '-', '_' and '.'.",
    ),
    "a name that leads out": (
        "tasks:\n- name: ..\n  data: mails.csv\n",
        "TASKS.yaml, line 2: task '..': name: '..' cannot name a folder; use letters, digits, '-', '_' and '.'.",
    ),
    "a key twice": (
        SPAM + "  rows: 5\n  data: news-topics\n",
        "TASKS.yaml, line 5: the key 'data' stands on line 3 already; remove one.",
    ),
    "a file's key twice": (SPAM + SPAM, "TASKS.yaml, line 4: the key 'tasks' stands on line 1 already; remove one."),
    "a missing file": (
        SPAM + "- name: news\n  data: mals.csv\n",
        "TASKS.yaml, line 5: task 'news': data: no file or folder 'mals.csv'. Did you mean 'mails.csv'?",
    ),
    "a missing validation file": (
        SPAM + "  validation: lost/dev.jsonl\n",
        "TASKS.yaml, line 4: task 'spam': validation: no file or folder 'lost/dev.jsonl'. Paths are as seen from the "
        "file that names them.",
    ),
    "empty data": (
        "tasks:\n- name: spam\n  data: ''\n",
        "TASKS.yaml, line 3: task 'spam': data: found '', expected a file, a folder or a name.",
    ),
    "a tab": (
        "tasks:\n- name: spam\n\tdata: mails.csv\n",
        "TASKS.yaml, line 3: a tab where only spaces may stand; indent with spaces.",
    ),
    "bad indentation": (
        "tasks:\n- name: spam\n   data: mails.csv\n",
        "TASKS.yaml, line 3: a colon where none may stand; put a text that contains one in quotes.",
    ),
    "indentation that ends a task": (
        "tasks:\n  - name: spam\n    data: mails.csv\n   rows: 5\n",
        "TASKS.yaml, line 4: this line does not fit the ones above; check its indentation and the quotes before it.",
    ),
    "a colon in a text": (
        SPAM + "  template: Mail: {text}\n",
        "TASKS.yaml, line 4: a colon where none may stand; put a text that contains one in quotes.",
    ),
    "a quotation mark that stays open": (
        SPAM + '  instruction: "Say\n  rows: 5\n',
        "TASKS.yaml, line 4: a quotation mark is not closed.",
    ),
    "words behind a text in quotes": (
        SPAM + '  instruction: "Say" it\n',
        "TASKS.yaml, line 4: this line does not fit the ones above; check its indentation and the quotes before it.",
    ),
    "a character that needs quotes": (
        SPAM + "  instruction: @all\n",
        "TASKS.yaml, line 4: put a text that begins with this character in quotes.",
    ),
    "two documents": (
        SPAM + "---\n" + SPAM,
        "TASKS.yaml, line 4: a second document begins here; one file holds one.",
    ),
    "a tag": (
        "tasks:\n- !!python/object/apply:os.system ['exit 1']\n",
        "TASKS.yaml, line 2: the tag !!python/object/apply:os.system; write a plain value.",
    ),
    "a tag on a text": (
        "tasks:\n- name: !secret spam\n",
        "TASKS.yaml, line 2: the tag !secret; write a plain value.",
    ),
    "a reference": (
        "tasks:\n- &one\n  name: spam\n  data: mails.csv\n- *one\n",
        "TASKS.yaml, line 5: '*one' refers to another place; write the value out.",
    ),
    "a file that holds itself": (
        "tasks: &all\n- *all\n",
        "TASKS.yaml, line 2: '*all' refers to another place; write the value out.",
    ),
    "a list as a key": (
        SPAM + "  [a, b]: c\n",
        "TASKS.yaml, line 4: a list or mapping as a key; put the text in quotes.",
    ),
    "depth without end": (
        "tasks: " + "[" * 5000,
        "TASKS.yaml, line 1: nested more than 16 deep; such a file needs three levels.",
    ),
    "another encoding": (
        SPAM.encode() + "  instruction: Für wen?\n".encode("latin-1"),
        "TASKS.yaml, line 4: byte 0xfc is not UTF-8; save the file as UTF-8.",
    ),
    "control characters": (SPAM + "  label: a\x07b\n", "TASKS.yaml, line 4: a control character; remove it."),
}


@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_is_one_line_that_names_its_own(name, tmp_path):
    text, expected = FAULTS[name]
    if expected is None:
        assert read_suite(write(tmp_path, text)).tasks[0].options == {"name": "spam"}
    else:
        assert fault(tmp_path, text) == expected


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(CuetuneError, match="no such file"):
        read_suite(tmp_path / "none.yaml")
    with pytest.raises(CuetuneError, match="cannot be read"):
        read_suite(tmp_path)


def test_a_byte_order_mark_and_windows_line_ends_change_nothing(tmp_path):
    plain = read_suite(write(tmp_path, GOOD))
    marked = read_suite(write(tmp_path, b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode()))
    assert marked == plain


@given(st.text(st.sampled_from("tasks:nmed - \n'\"{}[]&*!|>#%@`,?x")))
def test_whatever_stands_in_a_file_it_is_read_or_refused_in_one_line(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_text(text)
    with suppress(CuetuneError):
        read_suite(path)


def test_another_kind_of_file_uses_the_same_reader(tmp_path):
    """A file with keys of its own and longer entries names lines just as well."""

    class Stage(TaskEntry):
        classes: tuple[str, ...]

    class Stream(SuiteFile):
        tasks: tuple[Stage, ...]
        order: str = "given"

    path = write(tmp_path, SPAM + "  classes: [a, b]\norder: any\n")
    assert read_lined(path).as_a(Stream).tasks[0].classes == ("a", "b")
    path = write(tmp_path, SPAM)
    with pytest.raises(CuetuneError, match=r"line 2: task 'spam': no key 'classes'"):
        read_lined(path).as_a(Stream)


@pytest.mark.parametrize("name", ["sources", "targets"])
def test_the_suite_that_comes_along_fits_its_data(name):
    """Every task is a bundled data set, and what the file says of its labels is what the registry promises."""
    for task in read_suite(EXAMPLES / f"{name}.yaml").tasks:
        promised = DATASETS[task.data]
        said = task.options
        assert set(said.get("labels", promised.labels)) == set(promised.labels)
        assert set(Task(template=said["template"]).fields) <= set(promised.columns)
        assert said["instruction"].endswith(".")
        assert 64 <= said["max_tokens"] <= 96
        assert task.rows or promised.rows < 6000


def test_no_target_of_the_suite_is_among_its_sources():
    sources, targets = (read_suite(EXAMPLES / f"{name}.yaml") for name in ("sources", "targets"))
    assert len(sources.tasks) >= 6
    assert len(targets.tasks) >= 3
    assert not {task.data for task in sources.tasks} & {task.data for task in targets.tasks}
    assert sources.model == targets.model


def test_the_page_shows_a_file_that_is_read_and_faults_that_are_told(tmp_path):
    page = (EXAMPLES.parents[1] / "docs" / "universal-prompts.md").read_text(encoding="utf-8")
    shown = page.split("```yaml\n")[1].split("```")[0]
    (tmp_path / "rows").mkdir()
    for rows in ("returns.csv", "returns-held-out.csv"):
        (tmp_path / "rows" / rows).write_text("text,reason\na,late\n")
    assert [task.name for task in read_suite(write(tmp_path, shown)).tasks] == ["tweets", "returns"]
    told = [expected for _, expected in FAULTS.values() if expected]
    examples = [line for line in page.splitlines() if line.startswith("TASKS.yaml, line ")]
    assert len(examples) >= 4
    assert set(examples) <= set(told)
