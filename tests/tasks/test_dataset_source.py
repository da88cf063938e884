"""Folders and objects of `datasets`: configurations, splits, class names, hidden labels, and "@" in names."""

import shutil

import datasets
import pytest

from cuetune.data.reading import read_rows, splits_of
from cuetune.data.task import Task
from cuetune.errors import CuetuneError
from cuetune.tuning.data import prepare
from cuetune.tuning.settings import Settings

NAMES = ["negative", "positive"]
FEATURES = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=NAMES)})


def values(source, **options):
    return [dict(row.values) for row in read_rows(source, **options)]


def part(first, count, hidden=False):
    numbers = range(first, first + count)
    labels = [-1 if hidden else number % 2 for number in numbers]
    rows = {"text": [f"text {number}" for number in numbers], "label": labels}
    return datasets.Dataset.from_dict(rows, features=FEATURES)


def whole(hidden=True):
    return datasets.DatasetDict(train=part(0, 40), validation=part(40, 8), test=part(48, 8, hidden))


def csv_of(first, count):
    return "text,label\n" + "".join(f"text {n},{NAMES[n % 2]}\n" for n in range(first, first + count))


def saved(folder, data):
    data.save_to_disk(str(folder))
    return folder


def parquet(folder, data):
    (folder / "data").mkdir(parents=True)
    for split in data:
        data[split].to_parquet(folder / "data" / f"{split}-00000-of-00001.parquet")
    return folder


def test_a_folder_of_save_to_disk(tmp_path):
    data = part(0, 6)
    assert values(saved(tmp_path / "single", data)) == values(data)
    assert values(data)[1] == {"text": "text 1", "label": "positive"}
    assert list(splits_of(saved(tmp_path / "several", whole()))) == ["train", "validation", "test"]


@pytest.mark.parametrize("kept", [saved, parquet])
def test_hidden_labels_are_no_labels(tmp_path, kept):
    folder = kept(tmp_path / "data", whole())
    rows = values(f"{folder}@test")
    assert [row["label"] for row in rows] == [None] * 8
    assert [row["label"] for row in values(f"{folder}@validation")] == [NAMES[n % 2] for n in range(40, 48)]
    assert values(datasets.load_from_disk(folder)["test"] if kept is saved else f"{folder}@test") == rows


@pytest.mark.parametrize("kept", [saved, parquet, lambda folder, data: data])
@pytest.mark.parametrize("hidden", [False, True])
def test_own_splits_are_used_and_told(tmp_path, kept, hidden):
    data = prepare(kept(tmp_path / "data", whole(hidden)), None, None, None, Settings())
    parts = {
        name: {example.fields["text"] for example in getattr(data.splits, name)} for name in ("validation", "test")
    }
    assert parts["validation"] == {f"text {n}" for n in range(40, 48)}
    assert any("splits train, validation, test" in note for note in data.notes)
    if hidden:  # rows of `train` are set aside instead
        assert len(parts["test"]) == 8
        assert parts["test"] < {f"text {n}" for n in range(40)}
        assert any("no row has a label" in note for note in data.notes)
    else:
        assert parts["test"] == {f"text {n}" for n in range(48, 56)}
        assert len(data.splits.train) == 40


@pytest.mark.parametrize("name", ["valid", "val", "dev", "validation", "Validation"])
def test_spellings_of_splits(name):
    rows = [{"text": f"text {n}", "label": NAMES[n % 2]} for n in range(48)]
    data = prepare({"train": rows[:40], name: rows[40:], "unlabelled": rows[:2]}, None, None, None, Settings())
    assert {example.fields["text"] for example in data.splits.validation} == {f"text {n}" for n in range(40, 48)}
    assert any(f"train, {name}; not used: unlabelled" in note for note in data.notes)


def test_splits_that_are_named_win(tmp_path):
    folder, other = saved(tmp_path / "data", whole(False)), tmp_path / "other.csv"
    other.write_text(csv_of(100, 4))
    data = prepare(folder, None, other, None, Settings())
    assert {example.fields["text"] for example in data.splits.test} == {f"text {n}" for n in range(100, 104)}
    assert len(data.splits.validation) == 8
    alone = prepare(f"{folder}@train", None, None, None, Settings())
    assert len(alone.splits.test) == 8
    assert len(alone.splits.validation) == 4


def test_several_splits_without_one_to_train_on():
    rows = [{"text": f"text {n}", "label": NAMES[n % 2]} for n in range(20)]
    with pytest.raises(CuetuneError, match="has the splits a, b; name one"):
        prepare({"a": rows, "b": rows}, None, None, None, Settings())


def configured(folder):
    (folder / "a").mkdir(parents=True)
    (folder / "a" / "train.csv").write_text(csv_of(0, 20))
    (folder / "a" / "test.csv").write_text(csv_of(20, 4))
    (folder / "b.csv").write_text(csv_of(50, 6))
    (folder / "README.md").write_text(
        "---\nconfigs:\n- config_name: a\n  data_files:\n  - split: train\n    path: a/train.csv\n"
        "  - split: test\n    path: a/test.csv\n- config_name: b\n  data_files: b.csv\n---\n"
    )
    return folder


def test_configurations_are_named_behind_the_name(tmp_path):
    folder = configured(tmp_path / "multi")
    with pytest.raises(CuetuneError, match=r"has the configurations a, b; name one of them: .*multi@a"):
        values(folder)
    assert len(values(f"{folder}@a")) == 20
    assert values(f"{folder}@a@test")[0]["text"] == "text 20"
    assert len(values(f"{folder}@b")) == 6
    assert len(values(f"{folder}@b@train")) == 6
    assert splits_of(f"{folder}@a") == {"train": f"{folder}@a@train", "test": f"{folder}@a@test"}
    with pytest.raises(CuetuneError, match="no split 'c'; choose one of 'train', 'test'"):
        values(f"{folder}@a@c")


def test_an_at_sign_in_a_folders_own_name(tmp_path):
    folder = configured(tmp_path / "me@home")
    shutil.rmtree(folder / "a")
    (folder / "README.md").unlink()
    assert len(values(folder)) == 6
    assert len(values(f"{folder}@train")) == 6
    assert len(values(folder / "b.csv")) == 6
    saved(tmp_path / "x@y" / "z@train", part(0, 3))
    assert len(values(tmp_path / "x@y" / "z@train")) == 3


def test_tables_in_a_folder_are_read_as_when_they_are_named(tmp_path):
    """The loader of `datasets` takes N/A for nothing and refuses what pandas refuses."""
    (tmp_path / "train.csv").write_text("text;label;\nN/A;x;\n01;y;\n")
    rows = list(read_rows(tmp_path))
    assert [dict(row.values) for row in rows] == [{"text": "N/A", "label": "x"}, {"text": "01", "label": "y"}]
    assert rows[1].where == "train.csv, row 2"


def test_names_of_classes_beside_the_files(tmp_path):
    (tmp_path / "train.csv").write_text("text,label\na,1\nb,0\nc,-1\n")
    (tmp_path / "README.md").write_text(
        "---\ndataset_info:\n  features:\n  - name: text\n    dtype: string\n  - name: label\n    dtype:\n"
        "      class_label:\n        names:\n          '0': negative\n          '1': positive\n---\n"
    )
    assert [row["label"] for row in values(tmp_path)] == ["positive", "negative", None]


def test_hidden_labels_are_never_a_label():
    task = Task(labels=("negative", "positive"))
    (row,) = read_rows(part(0, 1, hidden=True))
    with pytest.raises(CuetuneError, match="no label"):
        task.example(row)
