"""Folders as people have them: splits, classes, metadata, tables and what systems leave behind; beside `datasets`."""

import csv
import json

import datasets
import pyarrow
import pyarrow.parquet as parquet
import pytest

from cuetune.data.media.audio_files import SOUNDS
from cuetune.data.media.image_files import PICTURES
from cuetune.data.media.image_reading import read_pictures
from cuetune.data.media.video_files import VIDEOS
from cuetune.data.readers.registry import READERS, reader_for
from cuetune.data.sources import Source, notes_of
from cuetune.errors import CuetuneError
from tiny_vision import picture, png


def put(folder, *names):
    """Files by name: images, or what their names say; a name that ends in "/" is an empty folder."""
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("/"):
            path.mkdir(exist_ok=True)
        elif path.suffix.lower() in (".txt", ".md", ".svg", ".ini", ""):
            path.write_text("no image")
        else:
            picture(size=(30 + number, 20)).save(path, format="PNG")
    return folder


def table(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".csv":
        with path.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    elif path.suffix == ".parquet":
        parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    else:
        path.write_text("\n".join(map(json.dumps, rows)) + "\n")
    return path


CLASSES = ("cat/1.png", "cat/2.png", "dog/1.png", "dog/2.png")
BOTH = [("cat", "1.png"), ("cat", "2.png"), ("dog", "1.png"), ("dog", "2.png")]


def split_files(*splits):
    return [f"{split}/{name}" for split in splits for name in CLASSES]


def described(folder, ending, *places):
    """A metadata file in each place, which names two images beside it."""
    for place in places:
        put(folder, *(f"{place}{name}" for name in ("a.png", "b.png")))
        rows = [{"file_name": "a.png", "label": "cat"}, {"file_name": "b.png", "label": "dog"}]
        table(folder / place / f"metadata{ending}", rows)


def hub(folder, *names):
    for name in names:
        rows = [{"image": {"bytes": png(picture()), "path": None}, "label": each} for each in ("cat", "dog")]
        table(folder / name, rows)


# Layout -> what makes it, the rows of each split as (label, name), and whether `datasets` gives the same rows.
TWO = [("cat", "a.png"), ("dog", "b.png")]
HELD = [("cat", None), ("dog", None)]
WHOLE = {"train": BOTH, "test": BOTH}
LAYOUTS = {
    "classes": (lambda f: put(f, *CLASSES), {"": BOTH}, True),
    "train and test": (lambda f: put(f, *split_files("train", "test")), WHOLE, True),
    "train, val, test": (lambda f: put(f, *split_files("train", "val", "test")), {**WHOLE, "validation": BOTH}, True),
    "Train, valid": (lambda f: put(f, *split_files("train", "valid")), {"train": BOTH, "validation": BOTH}, True),
    "train, dev": (lambda f: put(f, *split_files("train", "dev")), {"train": BOTH, "validation": BOTH}, True),
    "train, validation": (
        lambda f: put(f, *split_files("train", "validation")),
        {"train": BOTH, "validation": BOTH},
        True,
    ),
    "splits in upper case": (lambda f: put(f, *split_files("Train", "TEST")), WHOLE, False),
    "train alone": (lambda f: put(f, *split_files("train")), {"train": BOTH}, True),
    "splits in data": (lambda f: put(f, *(f"data/{name}" for name in split_files("train", "test"))), WHOLE, True),
    "a folder in the folder": (lambda f: put(f, *(f"pets/{name}" for name in CLASSES)), {"": BOTH}, True),
    "splits with junk": (
        lambda f: put(f, *split_files("train", "test"), "__MACOSX/train/cat/._1.png", ".DS_Store", "train/.x/1.png"),
        WHOLE,
        False,
    ),
    "an empty class": (lambda f: put(f, *CLASSES, "cow/", "pig/notes.txt"), {"": BOTH}, True),
    "notes beside": (lambda f: put(f, *CLASSES, "README.md", "LICENSE", "cat/notes.txt"), {"": BOTH}, True),
    "metadata.csv": (lambda f: described(f, ".csv", ""), {"": TWO}, True),
    "metadata.jsonl in splits": (
        lambda f: described(f, ".jsonl", "train/", "test/"),
        {"train": TWO, "test": TWO},
        True,
    ),
    "metadata.csv in splits": (
        lambda f: described(f, ".csv", "train/", "val/"),
        {"train": TWO, "validation": TWO},
        True,
    ),
    "metadata.parquet": (lambda f: described(f, ".parquet", ""), {"": TWO}, True),
    "the hub's Parquet": (
        lambda f: hub(f, "data/train-00000-of-00001.parquet", "data/test-00000-of-00001.parquet"),
        {"train": HELD, "test": HELD},
        True,
    ),
    "the hub's Parquet in shards": (
        lambda f: hub(
            f,
            "data/train-00000-of-00002.parquet",
            "data/train-00001-of-00002.parquet",
            "data/validation-00000-of-00001.parquet",
        ),
        {"train": HELD * 2, "validation": HELD},
        True,
    ),
    "the hub's Parquet in a configuration": (
        lambda f: hub(f, "plain/train-00000-of-00001.parquet", "plain/test-00000-of-00001.parquet"),
        {"train": HELD, "test": HELD},
        True,
    ),
    "tables named as splits": (
        lambda f: [
            put(f, "images/a.png", "images/b.png"),
            table(
                f / "train.csv", [{"image": "images/a.png", "label": "cat"}, {"image": "images/b.png", "label": "dog"}]
            ),
            table(f / "test.csv", [{"image": "images/b.png", "label": "dog"}]),
        ],
        {"train": TWO, "test": [("dog", "b.png")]},
        False,
    ),
    "one metadata file above the splits": (
        lambda f: [
            put(f, "train/a.png", "test/b.png"),
            table(
                f / "metadata.csv",
                [{"file_name": "train/a.png", "label": "cat"}, {"file_name": "test/b.png", "label": "dog"}],
            ),
        ],
        {"train": [("cat", "a.png")], "test": [("dog", "b.png")]},
        False,
    ),
    "saved by datasets": (
        lambda f: datasets.DatasetDict(
            {
                split: datasets.Dataset.from_dict(
                    {"image": [picture(), picture()], "label": [0, 1]},
                    features=datasets.Features(
                        {"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])}
                    ),
                )
                for split in ("train", "test")
            }
        ).save_to_disk(str(f)),
        {"train": HELD, "test": HELD},
        False,
    ),
}


def name_of(value):
    return None if isinstance(value, dict) or value is None else value.rpartition("/")[2]


def ours(source):
    return {
        split: sorted((row.values["label"], name_of(row.values["image"])) for row in rows)
        for split, rows in PICTURES.parts(source).items()
    }


@pytest.fixture
def layout(request, tmp_path):
    folder = tmp_path / "pets"
    folder.mkdir()
    LAYOUTS[request.param][0](folder)
    return folder


@pytest.mark.parametrize(("layout", "name"), [(name, name) for name in LAYOUTS], indirect=["layout"])
def test_rows_of_every_layout(layout, name):
    _, wanted, _ = LAYOUTS[name]
    source = Source(layout)
    assert ours(source) == {split: sorted(rows, key=str) for split, rows in wanted.items()}
    rows = list(PICTURES.read(layout))
    assert len({row.where for row in rows}) == len(rows), "a place names one row"
    assert len(list(read_pictures(rows))) == len(rows)
    assert reader_for(layout, {}) is READERS["image"]
    assert any("splits" in note for note in notes_of(source)) == ("" not in wanted)


@pytest.mark.parametrize(
    ("layout", "name"), [(name, name) for name, made in LAYOUTS.items() if made[2]], indirect=["layout"]
)
def test_datasets_gives_the_same_rows(layout, name):
    """Its own builder is the oracle; where no split is named it calls all rows train."""
    held = name.startswith("the hub")
    options = {} if held else {"path": "imagefolder", "data_dir": str(layout)}
    found = datasets.load_dataset(**(options or {"path": str(layout)}), streaming=True)
    theirs = {}
    for split, rows in found.items():
        rows = rows.cast_column("image", datasets.Image(decode=False))
        kind = rows.features["label"]
        theirs[split] = sorted(
            (
                kind.int2str(row["label"]) if hasattr(kind, "int2str") else row["label"],
                None if held else name_of(row["image"]["path"]),
            )
            for row in rows
        )
    mine = ours(layout)
    assert ({"train": mine[""]} if "" in mine else mine) == theirs


def test_splits_are_labels_where_the_user_says_so(tmp_path):
    put(tmp_path, "train/1.png", "tram/1.png", "test/1.png")
    assert ours(Source(tmp_path, splits=False)) == {"": [("test", "1.png"), ("train", "1.png"), ("tram", "1.png")]}
    with pytest.raises(CuetuneError, match=r"train: 1 images, but no folders.*--no-splits takes"):
        ours(tmp_path)


def test_a_class_that_is_called_train_is_no_split(tmp_path):
    put(tmp_path, "train/1.png", "bus/1.png", "car/1.png")
    assert ours(tmp_path) == {"": [("bus", "1.png"), ("car", "1.png"), ("train", "1.png")]}


def test_what_is_left_out_and_ignored_is_counted_and_named(tmp_path):
    put(tmp_path, *CLASSES, "cat/a.txt", "cat/b.txt", "dog/c.svg", "LICENSE", "cow/", "__MACOSX/1.png", "cat/.2.png")
    source = Source(tmp_path)
    ours(source)
    assert notes_of(source) == [
        "left out, no images: .txt 2, .svg 1, no ending 1",
        "ignored: __MACOSX 1, hidden 1, folders without images 1 (cow)",
    ]


def test_nested_classes_are_said(tmp_path):
    put(tmp_path, "cat/tabby/1.png", "cat/2.png", "dog/1.png")
    source = Source(tmp_path)
    assert ours(source)[""] == [("cat", "1.png"), ("cat", "2.png"), ("dog", "1.png")]
    (note,) = notes_of(source)
    assert note.startswith("1 images lie deeper than their class, as cat/tabby/1.png: their label is 'cat'")


def test_folders_beside_splits_are_left_out_and_named(tmp_path):
    put(tmp_path, *split_files("train", "test"), "unlabelled/1.png", "cover.png")
    source = Source(tmp_path)
    assert ours(source) == WHOLE
    assert "folders beside the splits, which are left out: unlabelled" in notes_of(source)
    assert "1 images beside the splits are left out: cover.png" in notes_of(source)


def test_several_tables_that_nothing_tells_apart_are_refused(tmp_path):
    put(tmp_path, "a.png")
    for name in ("first.csv", "second.csv"):
        table(tmp_path / name, [{"image": "a.png", "label": "cat"}])
    with pytest.raises(CuetuneError, match=r"2 tables, of which none .*\(first.csv, second.csv\); give one of them"):
        ours(tmp_path)


def test_a_list_of_class_names_is_no_table_of_images(tmp_path):
    put(tmp_path, *CLASSES)
    table(tmp_path / "classes.csv", [{"id": "0", "name": "cat"}, {"id": "1", "name": "dog"}])
    source = Source(tmp_path)
    assert ours(source) == {"": BOTH}
    assert notes_of(source) == ["left out, no images: .csv 1"]


def test_metadata_without_file_names_is_refused_with_its_place(tmp_path):
    put(tmp_path, "a.png")
    table(tmp_path / "metadata.csv", [{"name": "a.png", "label": "cat"}])
    with pytest.raises(CuetuneError, match=r"metadata.csv: no column 'file_name' \(found: 'name', 'label'\)"):
        ours(tmp_path)


def test_texts_with_a_logo_beside_them_stay_texts(tmp_path):
    put(tmp_path, "logo.png")
    table(tmp_path / "train.csv", [{"text": "good", "label": "a"}])
    assert reader_for(tmp_path, {}).modality.name == "text"


def test_links_to_folders_are_followed_and_loops_are_not(tmp_path):
    put(tmp_path, "elsewhere/1.png", "pets/dog/1.png")
    (tmp_path / "pets" / "cat").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "pets" / "dog" / "again").symlink_to(tmp_path / "pets")
    assert ours(tmp_path / "pets")[""] == [("cat", "1.png"), ("dog", "1.png")]


@pytest.mark.parametrize(("media", "ending"), [(SOUNDS, ".wav"), (VIDEOS, ".mp4")])
def test_audio_and_video_lie_in_the_same_layouts(tmp_path, media, ending):
    for split in ("train", "test"):
        for label in ("a", "b"):
            (tmp_path / split / label).mkdir(parents=True)
            (tmp_path / split / label / f"1{ending}").write_bytes(b"x")
    parts = {split: [row.values["label"] for row in rows] for split, rows in media.parts(tmp_path).items()}
    assert parts == {"train": ["a", "b"], "test": ["a", "b"]}
    assert reader_for(tmp_path, {}).modality.name == media.field
