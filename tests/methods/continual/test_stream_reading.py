"""Streams of texts and images: rows dealt by labels and domains, split without leaks, every fault by its line."""

import csv

import pytest

from cuetune.data.formats.layout import Layout
from cuetune.data.skip_report import Skipped
from cuetune.data.sources import Source
from cuetune.errors import CuetuneError
from cuetune.methods.continual.reading import read_stream
from tiny_vision import picture

STYLES = ("ink", "oil", "pen")


def table(folder, labels="abcdef", copies=5, styles=STYLES, name="rows.csv"):
    """Rows text, label, style, name: every object of every label in every style."""
    with (folder / name).open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["text", "label", "style", "name"])
        for label in labels:
            for number in range(copies):
                for style in styles:
                    writer.writerow([f"{label} {number} in {style}", label, style, f"{label}{number}"])
    return folder / name


def stream(folder, text, **options):
    path = folder / "STREAM.yaml"
    path.write_text(text)
    return read_stream(path, **options)


def fault(folder, text):
    with pytest.raises(CuetuneError) as error:
        stream(folder, text)
    assert "\n" not in str(error.value)
    return str(error.value).replace(f"{folder}/", "")


def test_labels_are_dealt_into_tasks(tmp_path):
    table(tmp_path)
    found = stream(tmp_path, "data: rows.csv\ndivide: 4\n")
    assert (found.kind, found.modality) == ("classes", "text")
    assert [task.task.labels for task in found.tasks] == [("a",), ("b", "c"), ("d",), ("e", "f")]
    assert found.labels == tuple("abcdef")
    assert [task.name for task in found.tasks] == [f"classes-{number}" for number in range(1, 5)]
    for task in found.tasks:
        assert {each.label for each in task.train} == {each.label for each in task.test} == set(task.task.labels)
        assert len(task.train) == 4 * len(task.test)
        assert len({task.task.template for task in found.tasks}) == 1


def test_a_share_of_each_task_is_to_choose_on(tmp_path):
    table(tmp_path, copies=10)
    plain = stream(tmp_path, "data: rows.csv\ndivide: 2\n")
    found = stream(tmp_path, "data: rows.csv\ndivide: 2\nvalidation_fraction: 0.25\n")
    for before, task in zip(plain.tasks, found.tasks, strict=True):
        assert (before.validation, task.test) == ([], before.test)
        assert {each.label for each in task.validation} == set(task.task.labels)
        assert len(task.validation) * 3 == len(task.train)
        both = sorted(each.where for each in task.data.all_rows)
        assert both == sorted(each.where for each in before.train), "the rows are dealt into two, none twice"


def test_what_belongs_together_is_not_parted_to_choose_on(tmp_path):
    table(tmp_path, copies=10)
    text = "data: rows.csv\ndivide: 2\ngroup_by: name\nvalidation_fraction: 0.25\n"
    for task in stream(tmp_path, text).tasks:
        parts = [{each.fields["text"].split(" in ")[0] for each in part} for part in (task.train, task.validation)]
        assert parts[1]
        assert not parts[0] & parts[1]


@pytest.mark.parametrize("share", ["0", "0.9", "lots"])
def test_a_share_that_is_none(tmp_path, share):
    table(tmp_path)
    said = fault(tmp_path, f"data: rows.csv\ndivide: 2\nvalidation_fraction: {share}\n")
    assert said.startswith("STREAM.yaml, line 3: validation_fraction")


def test_a_seed_draws_the_order_of_labels(tmp_path):
    table(tmp_path)
    orders = [stream(tmp_path, "data: rows.csv\ndivide: 6\n", class_order=order).labels for order in (0, 1, 2)]
    assert orders[0] == tuple("abcdef")
    assert len(set(orders)) == 3
    assert {frozenset(order) for order in orders} == {frozenset("abcdef")}
    assert stream(tmp_path, "data: rows.csv\ndivide: 6\nclass_order: 2\n").labels == orders[2]


def test_the_order_of_labels_moves_no_row_to_the_other_side(tmp_path):
    table(tmp_path)
    first, second = (stream(tmp_path, "data: rows.csv\ndivide: 3\n", class_order=order) for order in (0, 1))
    for part in ("train", "test"):
        wheres = [{each.where for task in found.tasks for each in getattr(task, part)} for found in (first, second)]
        assert wheres[0] == wheres[1]
    other = stream(tmp_path, "data: rows.csv\ndivide: 3\n", seed=1)
    assert {e.where for t in other.tasks for e in t.test} != {e.where for t in first.tasks for e in t.test}


def test_values_of_a_column_are_domains(tmp_path):
    table(tmp_path)
    found = stream(tmp_path, "data: rows.csv\ndomains: style\nvalues: [pen, ink]\n")
    assert found.kind == "domains"
    assert [task.name for task in found.tasks] == ["pen", "ink"]
    for task in found.tasks:
        assert task.task.labels == tuple("abcdef")
        assert all(each.fields["text"].endswith(f"in {task.name}") for each in [*task.train, *task.test])


def test_classes_and_domains_at_once(tmp_path):
    table(tmp_path)
    found = stream(tmp_path, "data: rows.csv\ndivide: 3\ndomains: style\n")
    assert found.kind == "both"
    assert [task.name for task in found.tasks] == ["classes-1-ink", "classes-2-oil", "classes-3-pen"]
    assert [task.task.labels for task in found.tasks] == [("a", "b"), ("c", "d"), ("e", "f")]
    assert all(each.fields["text"].endswith("in oil") for each in found.tasks[1].train)


@pytest.mark.parametrize("how", ["divide: 3", "domains: style"])
def test_what_belongs_together_stays_on_one_side(tmp_path, how):
    path = table(tmp_path)
    names = {f"rows.csv, row {n}": row["name"] for n, row in enumerate(csv.DictReader(path.open()), start=1)}
    found = stream(tmp_path, f"data: rows.csv\n{how}\ngroup_by: name\n")
    known = {key.removeprefix(f"{tmp_path}/"): value for key, value in names.items()}

    def of(part):
        wheres = [each.where.replace(f"{tmp_path}/", "") for task in found.tasks for each in getattr(task, part)]
        return {known[where] for where in wheres}

    assert of("train")
    assert of("test")
    assert not of("train") & of("test")


def test_tasks_of_several_files_are_asked_alike(tmp_path):
    table(tmp_path, name="one.csv")
    text = (tmp_path / "one.csv").read_text().replace("text,label", "body,label")
    (tmp_path / "two.csv").write_text(text)
    found = stream(
        tmp_path,
        'template: "Say: {text}\\n"\ntasks:\n  - name: one\n    data: one.csv\n'
        "  - name: two\n    data: two.csv\n    columns: {text: body}\n    rows: 20\n",
    )
    assert found.kind == "domains"
    assert [task.task.template for task in found.tasks] == ["Say: {text}\n"] * 2
    assert len(found.tasks[1].train) + len(found.tasks[1].test) == 20


def test_some_labels_of_one_file(tmp_path):
    table(tmp_path)
    tasks = "data: rows.csv\ntasks:\n  - name: one\n    labels: [c, a]\n  - name: two\n    labels: [b]\n"
    found = stream(tmp_path, tasks)
    assert found.kind == "classes"
    assert [task.task.labels for task in found.tasks] == [("c", "a"), ("b",)]


def test_data_is_read_as_the_given_source_is(tmp_path):
    """--no-splits: folders named train and test are labels; --delimiter and --encoding are of a table."""
    for label in ("train", "test"):
        for number in range(5):
            path = tmp_path / "images" / label / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            picture("red", (20, 20 + number)).save(path)
    found = stream(tmp_path, "data: images\ndivide: 1\n", files=Source("", splits=False))
    assert set(found.labels) == {"train", "test"}
    (tmp_path / "rows.csv").write_text(
        "text|label\n" + "".join(f"näht {n}|{'ab'[n % 2]}\n" for n in range(20)), encoding="latin-1"
    )
    table = Source("", layout=Layout(delimiter="|"))
    found = stream(tmp_path, "data: rows.csv\ndivide: 1\n", files=table, encoding="latin-1")
    assert found.tasks[0].train[0].fields["text"].startswith("näht")


def test_pictures_in_folders_of_classes(tmp_path):
    for label in ("ant", "bee", "cat", "dog"):
        (tmp_path / "zoo" / label).mkdir(parents=True)
        for number in range(5):
            picture("red", (20, 20 + number)).save(tmp_path / "zoo" / label / f"{number}.png")
    found = stream(tmp_path, "data: zoo\ndivide: 2\nmodel: dinov2-small@98\n")
    assert (found.modality, found.model) == ("image", "dinov2-small@98")
    assert [task.task.labels for task in found.tasks] == [("ant", "bee"), ("cat", "dog")]
    assert [len(task.test) for task in found.tasks] == [2, 2]


def test_a_task_whose_data_is_gone_keeps_its_place(tmp_path):
    table(tmp_path)
    tasks = "tasks:\n  - name: one\n    data: gone.csv\n    labels: [x]\n  - name: two\n    data: rows.csv\n"
    with pytest.raises(CuetuneError, match="line 3"):
        stream(tmp_path, tasks)
    one, two = stream(tmp_path, tasks, finished=["one"]).tasks
    assert (one.gone, one.task.labels, two.gone) == (True, ("x",), False)


BOTH = "data: rows.csv\ntasks:\n  - name: one\n    labels: [a, b]\n  - name: two\n    labels: [c, {}]\n"


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        (BOTH.format("b"), 5, "task 'two': the label 'b' was seen before, in task 'one'"),
        (BOTH.format("z"), 5, "task 'two': an empty task: no row has the label 'z'"),
        (
            "data: rows.csv\ntasks:\n  - name: one\n    where: {style: ikn}\n",
            3,
            "no row has 'ikn' in 'style'; there are",
        ),
        ("data: rows.csv\ntasks:\n  - name: one\n    where: {sytle: ink}\n", 3, "has no column 'sytle'"),
        ("data: rows.csv\ndivide: 9\n", 2, "9 tasks, but the data has 6 labels"),
        ("data: rows.csv\ndomains: sytle\n", 2, "has no column 'sytle'"),
        ("data: rows.csv\ndomains: style\nvalues: [ikn]\n", 3, "no row has 'ikn' in 'style'"),
        ("data: rows.csv\ndivide: 2\ngroup_by: nme\n", 3, "group_by: rows.csv, row 1 has no column 'nme'"),
        ("tasks:\n  - name: one\n    data: few.csv\n", 2, "none to measure on"),
        ("tasks:\n  - name: one\n    data: none.csv\n", 2, "no rows"),
        ("tasks:\n  - name: one\n    data: rows.csv\n    label: lable\n", 2, "no column 'lable'"),
    ],
)
def test_faults_are_named_by_their_line(tmp_path, text, line, said):
    table(tmp_path)
    (tmp_path / "few.csv").write_text("text,label\nx,a\ny,b\n")
    (tmp_path / "none.csv").write_text("text,label\n")
    found = fault(tmp_path, text)
    assert found.startswith(f"STREAM.yaml, line {line}: "), found
    assert said in found


def test_labels_may_come_again_where_the_file_says_so(tmp_path):
    table(tmp_path)
    assert stream(tmp_path, "kind: both\n" + BOTH.format("b")).labels == ("a", "b", "c")


def test_rows_without_a_label_are_counted_and_left_out_when_asked(tmp_path):
    """They are of no task, so none may take them in silence."""
    path = table(tmp_path)
    path.write_text(path.read_text() + "no label,,ink,x1\nnone,,oil,x2\n")
    text = "data: rows.csv\ndivide: 3\n"
    said = fault(tmp_path, text)
    assert "2 rows cannot be used: rows.csv, row 91, column 'label': no label; rows.csv, row 92" in said
    assert "--skip-unreadable" in said
    skipped = Skipped()
    found = stream(tmp_path, text, skipped=skipped)
    assert skipped.count == 2
    assert sum(len(task.train) + len(task.test) for task in found.tasks) == 90


def test_labels_that_are_numbers_are_dealt_as_before(tmp_path):
    table(tmp_path, labels=[str(number) for number in range(12)])
    found = stream(tmp_path, "data: rows.csv\ndivide: 2\n")
    assert set(found.tasks[0].task.labels) == {"0", "1", "10", "11", "2", "3"}
