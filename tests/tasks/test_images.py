"""Where images come from: folders of classes, tables of paths, data sets that hold them."""

import csv
import io

import datasets
import numpy as np
import pyarrow
import pyarrow.parquet as parquet
import pytest
from PIL import Image

from cuetune.data.media.image_files import PICTURES
from cuetune.data.media.image_reading import read_picture, read_pictures
from cuetune.data.row import Row
from cuetune.errors import CuetuneError
from tiny_vision import picture


@pytest.fixture
def classes(tmp_path):
    """A folder of images for each of two classes, with other files that are none."""
    folder = tmp_path / "animals"
    for label, colour in (("cat", "red"), ("dog", "blue")):
        (folder / label / "more").mkdir(parents=True)
        picture(colour).save(folder / label / "2.PNG")
        picture(colour).save(folder / label / "more" / "1.jpg")
        (folder / label / ".hidden.png").write_bytes(b"")
        (folder / label / "notes.txt").write_text("no image")
    (folder / ".cache").mkdir()
    return folder


def test_a_folder_for_each_class(classes):
    rows = list(PICTURES.read(classes))
    assert [row.where for row in rows] == ["cat/2.PNG", "cat/more/1.jpg", "dog/2.PNG", "dog/more/1.jpg"]
    assert [row.values["label"] for row in rows] == ["cat", "cat", "dog", "dog"]
    assert [read.size for _, read in read_pictures(rows)] == [(40, 30)] * 4
    assert PICTURES.column(rows[0]) == "image"


def test_folders_that_are_no_classes_are_refused(classes, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(CuetuneError, match="empty: 0 images, but no folders"):
        list(PICTURES.read(empty))
    picture().save(empty / "1.png")
    with pytest.raises(CuetuneError, match="empty: 1 images, but no folders; expected a folder of images for each"):
        list(PICTURES.read(empty))
    picture().save(classes / "loose.png")
    with pytest.raises(CuetuneError, match="loose.png lies beside the folders of the classes"):
        list(PICTURES.read(classes))
    (classes / "loose.png").unlink()
    (classes / "cow").mkdir()
    assert len(list(PICTURES.read(classes))) == 4  # a class without files is none


def write(path, rows):
    if path.suffix == ".csv":
        with path.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    elif path.suffix == ".parquet":
        parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    else:
        import json

        path.write_text("\n".join(map(json.dumps, rows)))
    return path


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet"])
def test_tables_name_pictures_from_their_own_folder(classes, ending, monkeypatch, tmp_path):
    rows = [{"path": "cat/2.PNG", "label": "cat"}, {"path": str(classes / "dog" / "2.PNG"), "label": "dog"}]
    table = write(classes / f"rows{ending}", rows)
    monkeypatch.chdir(tmp_path)
    found = list(PICTURES.read(table))
    assert [PICTURES.column(row) for row in found] == ["path", "path"]
    assert [read.size for _, read in read_pictures(found, "path")] == [(40, 30)] * 2


def test_a_missing_path_names_its_row(classes):
    table = write(classes / "rows.csv", [{"image": "cat/2.PNG", "label": "a"}, {"image": "cat/3.png", "label": "b"}])
    with pytest.raises(CuetuneError, match=r"rows.csv, row 2: .*animals/cat/3.png: no such file"):
        list(read_pictures(PICTURES.read(table)))


def test_pictures_within_parquet_and_data_sets(tmp_path):
    stream = io.BytesIO()
    picture().save(stream, "PNG")
    rows = [{"picture": {"bytes": stream.getvalue(), "path": "a.png"}, "label": "cat"}]
    table = write(tmp_path / "rows.parquet", rows)
    columns = {"picture": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])}
    held = datasets.Dataset.from_dict({"picture": [picture()], "label": [1]}, features=datasets.Features(columns))
    for source, label in ((table, "cat"), (held, "dog")):
        (row,) = PICTURES.read(source)
        assert row.values["label"] == label
        assert PICTURES.column(row) == "picture"
        assert isinstance(row.values["picture"]["bytes"], bytes)  # not decoded yet
        read = read_picture(row.values["picture"], row.where)
        np.testing.assert_array_equal(np.asarray(read), np.asarray(picture()))


def test_lists_of_pictures():
    (row,) = PICTURES.read([{"photo": Image.new("RGB", (5, 5)), "label": "x"}])
    assert PICTURES.column(row) == "photo"


def test_rows_without_a_column_of_pictures_are_refused():
    assert PICTURES.column(Row("row 1", {"label": "a", "img": "no ending"})) == "img"
    with pytest.raises(CuetuneError, match=r"row 1: no column of images \(found: 'text', 'label'\)"):
        PICTURES.column(Row("row 1", {"text": "good", "label": "a"}))


def test_a_task_on_pictures_is_inferred(classes):
    rows = list(PICTURES.read(classes))
    task = PICTURES.infer(rows, name="animals")
    assert (task.template, task.label_column, task.labels, task.name) == ("{image}", "label", ("cat", "dog"), "animals")
    example = task.example(rows[0])
    assert (example.fields["image"], example.label) == (classes / "cat" / "2.PNG", "cat")
    assert PICTURES.holds(rows)
    assert not PICTURES.holds([Row("row 1", {"text": "good", "label": "a"})])
    other = PICTURES.infer([Row(f"row {n}", {"kind": f"k{n}", "img": f"{n}.jpg"}) for n in (1, 2)], label="kind")
    assert (other.columns, other.labels) == ({"image": "img"}, ("k1", "k2"))


def test_texts_among_pictures_are_refused():
    rows = [Row("a.csv, row 1", {"image": "1.png", "label": "a"}), Row("a.csv, row 2", {"image": "fun", "label": "b"})]
    with pytest.raises(CuetuneError, match="a.csv, row 2, column 'image': 'fun' is none of the image paths"):
        PICTURES.infer(rows)
