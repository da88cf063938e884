"""Tables of images as people have them: paths of every spelling, content in cells, addresses, empty cells."""

import base64
import csv
import gzip
import json
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import quote

import numpy as np
import pyarrow
import pyarrow.parquet as parquet
import pytest

from cuetune.data.media import download as fetching
from cuetune.data.media.image_files import PICTURES
from cuetune.data.media.image_reading import read_picture
from cuetune.data.media.opening import opened
from cuetune.data.readers.registry import reader_for
from cuetune.data.sources import Source
from cuetune.errors import CuetuneError
from cuetune.support.cache_dir import cache_dir
from cuetune.tuning.data import prepare
from cuetune.tuning.settings import Settings
from tiny_vision import dark_and_light, picture, png

PNG = png(picture())
BASE64 = base64.b64encode(PNG).decode()


@pytest.fixture
def folder(tmp_path):
    """A table's folder with one image by several names."""
    place = tmp_path / "table"
    (place / "scans").mkdir(parents=True)
    for name in ("a.png", "scans/0001", "scans/b.JPEG", "scans/ein Bild (é).png"):
        (place / name).write_bytes(PNG)
    return place


def with_rows(path, cells, column="image"):
    rows = [{column: cell, "label": label} for cell, label in zip(cells, ("cat", "dog"), strict=False)]
    if path.suffix == ".parquet":
        parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    elif path.suffix == ".jsonl":
        path.write_text("\n".join(map(json.dumps, rows)))
    else:
        delimiter = "\t" if ".tsv" in path.name else ";" if "semi" in path.name else ","
        opener = gzip.open if path.suffix == ".gz" else open
        with opener(path, "wt", newline="") as stream:
            writer = csv.DictWriter(stream, list(rows[0]), delimiter=delimiter)
            writer.writeheader()
            writer.writerows(rows)
    return path


HELD = {"bytes": PNG, "path": None}
# Kind of table -> its name, its cells, and the name of their column.
TABLES = {
    "paths from the table's folder": ("rows.csv", ["a.png", "scans/b.JPEG"], "image"),
    "TSV": ("rows.tsv", ["a.png", "scans/b.JPEG"], "image"),
    "semicolons": ("semi.csv", ["a.png", "scans/b.JPEG"], "image"),
    "gzipped": ("rows.csv.gz", ["a.png", "scans/b.JPEG"], "image"),
    "JSON lines": ("rows.jsonl", ["a.png", "scans/b.JPEG"], "image"),
    "Parquet of paths": ("rows.parquet", ["a.png", "scans/b.JPEG"], "image"),
    "Parquet of bytes": ("rows.parquet", [PNG, PNG], "image"),
    "Parquet of the hub": ("rows.parquet", [HELD, HELD], "image"),
    "Parquet of the hub with names": ("rows.parquet", [{**HELD, "path": "x"}, {**HELD, "path": "y.png"}], "img"),
    "JSON lines of dictionaries": ("rows.jsonl", [{"path": "a.png"}, {"path": "scans/b.JPEG"}], "image"),
    "dots": ("rows.csv", ["./a.png", "scans/../a.png"], "image"),
    "spaces and accents": ("rows.csv", ["scans/ein Bild (é).png", "a.png"], "image"),
    "no ending": ("rows.csv", ["scans/0001", "scans/0001"], "image"),
    "Windows": ("rows.csv", ["scans\\b.JPEG", ".\\a.png"], "image"),
    "file_name": ("rows.csv", ["a.png", "a.png"], "file_name"),
    "photo": ("rows.csv", ["a.png", "a.png"], "Photo"),
    "a column of another name": ("rows.csv", ["a.png", "a.png"], "shot"),
    "data": ("rows.csv", [f"data:image/png;base64,{BASE64}", "a.png"], "image"),
    "data in parts of an address": ("rows.csv", [f"data:image/png,{quote(PNG)}", "a.png"], "image"),
    "base64": ("rows.csv", [BASE64, BASE64], "image"),
    "base64 in lines": ("rows.jsonl", [base64.encodebytes(PNG).decode(), BASE64], "image"),
    "base64 for addresses": ("rows.csv", [base64.urlsafe_b64encode(PNG).decode().rstrip("="), "a.png"], "image"),
    "base64 in another column": ("rows.jsonl", [BASE64, BASE64], "shot"),
}


@pytest.mark.parametrize("kind", TABLES)
def test_tables_of_every_kind_hold_images(folder, kind, monkeypatch, tmp_path):
    name, cells, column = TABLES[kind]
    path = with_rows(folder / name, cells, column)
    monkeypatch.chdir(tmp_path)
    assert reader_for(path, {}).modality.name == "image"
    rows = list(PICTURES.read(path))
    task = PICTURES.infer(rows)
    for row in rows:
        read = read_picture(task.example(row).fields["image"], row.where)
        assert np.array_equal(np.asarray(read), np.asarray(picture()))
    assert task.labels == ("cat", "dog")


@pytest.mark.parametrize("form", ["file://{}", "file:{}", "file://localhost{}", "{}"])
def test_absolute_paths_and_file_addresses(folder, form, tmp_path):
    spaced = folder / "scans" / "ein Bild (é).png"
    cells = [form.format(quote(str(spaced)) if form != "{}" else spaced)] * 2
    for row in PICTURES.read(with_rows(tmp_path / "rows.csv", cells)):
        assert read_picture(row.values["image"], row.where).size == (40, 30)


def test_a_root_for_media_comes_before_the_tables_folder(folder, tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    picture(size=(9, 9)).save(root / "a.png")
    path = with_rows(folder / "rows.csv", ["a.png", "scans/b.JPEG"])
    rows = list(PICTURES.read(Source(path, media_root=root)))
    assert [read_picture(row.values["image"], row.where).size for row in rows] == [(9, 9), (40, 30)]
    (missing,) = PICTURES.read(Source(with_rows(folder / "more.csv", ["c.png"]), media_root=root))
    with pytest.raises(CuetuneError, match=r"more.csv, row 1: .*root/c.png: no such file.*--media-root"):
        read_picture(missing.values["image"], missing.where)


@pytest.mark.parametrize(
    ("cell", "told"),
    [
        ("data:image/png;base64,@@@", "is no whole image in a cell"),
        ("data:image/png;base64," + BASE64[:-40], "a broken image"),
        ("data:nothing", "is no whole image in a cell"),
        ("https://127.0.0.1:9/a.png", "is an address, and nothing is fetched unless you pass --allow-download"),
        ("file://elsewhere/a.png", "no such file"),
        ("", "an empty cell and no image; fill it or remove the row"),
    ],
)
def test_cells_that_hold_nothing_are_one_line(folder, cell, told):
    path = with_rows(folder / "rows.csv", [cell, "a.png"])
    rows = list(PICTURES.read(path))
    task = PICTURES.infer(rows, column="image")
    with pytest.raises(CuetuneError, match=told) as caught:
        read_picture(task.example(rows[0]).fields["image"], rows[0].where)
    assert str(caught.value).startswith("rows.csv, row 1")
    assert len(str(caught.value)) < 400
    assert "\n" not in str(caught.value)


class Answers(BaseHTTPRequestHandler):
    """A server that sends the image, too much, too little, nothing, or somewhere else."""

    asked: list[str] = []

    def do_GET(self):
        self.asked.append(self.path)
        if self.path.startswith("/to"):
            self.send_response(302)
            self.send_header("Location", {"/to-file": "file:///etc/passwd", "/to-image": "/a.png"}[self.path])
            self.end_headers()
        elif self.path == "/gone.png":
            self.send_error(404)
        elif self.path == "/stuck.png":
            self.send_response(200)
            self.end_headers()
            threading.Event().wait(2)
        else:
            content = {"/endless.png": PNG * 2000}.get(self.path, PNG)
            self.send_response(200)
            if self.path == "/short.png":
                self.send_header("Content-Length", str(len(PNG) + 5))
            self.end_headers()
            self.wfile.write(content)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch, tmp_path):
    monkeypatch.setenv("CUETUNE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(Answers, "asked", [])
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as running:
        thread = threading.Thread(target=partial(running.serve_forever, poll_interval=0.01), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


def test_addresses_are_fetched_once_and_only_where_it_is_allowed(server, folder):
    path = with_rows(folder / "rows.csv", [f"{server}/a.png", f"{server}/to-image"])
    assert reader_for(path, {}).modality.name == "image"
    left = cache_dir() / "fetched" / ".a.png.cuetune-0123456789abcdef.partial"  # by a process that was killed
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half")
    for _ in range(2):
        rows = list(PICTURES.read(Source(path, allow_download=True)))
        task = PICTURES.infer(rows)
        for row in rows:
            assert read_picture(task.example(row).fields["image"], row.where).size == (40, 30)
    assert Answers.asked == ["/a.png", "/to-image", "/a.png"]
    assert not left.exists()
    rows = list(PICTURES.read(path))
    with pytest.raises(CuetuneError, match="--allow-download"):
        read_picture(rows[0].values["image"], "row 1")
    assert len(Answers.asked) == 3


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("gone.png", "Not Found"),
        ("endless.png", "larger than"),
        ("short.png", "bytes came"),
        ("stuck.png", "timed out"),
        ("to-file", "cannot be fetched"),
    ],
)
def test_what_cannot_be_fetched_is_one_line_and_not_kept(server, folder, monkeypatch, name, told, tmp_path):
    monkeypatch.setattr(fetching, "LARGEST", 100_000)
    monkeypatch.setattr(fetching, "SILENT", 0.3)
    (row, _) = PICTURES.read(Source(with_rows(folder / "rows.csv", [f"{server}/{name}", "a.png"]), allow_download=True))
    with pytest.raises(CuetuneError, match=told) as caught:
        opened(row.values["image"], row.where, "picture")
    assert str(caught.value).startswith(f"rows.csv, row 1: {server}/{name}: cannot be fetched")
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "cache").rglob("*.partial"))


@pytest.mark.parametrize("name", ["rows.csv", "rows.parquet"])
def test_an_empty_cell_is_left_out_where_that_is_asked_for(tmp_path, name):
    folder = dark_and_light(tmp_path / "noise", 6)
    rows = [
        {"image": str(path.relative_to(tmp_path)), "label": path.parent.name} for path in sorted(folder.rglob("*.png"))
    ]
    empty = None if name.endswith("parquet") else ""
    rows.insert(3, {"image": empty, "label": "dark"})
    if name.endswith("parquet"):
        parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / name)
    else:
        with (tmp_path / name).open("w", newline="") as stream:
            writer = csv.DictWriter(stream, ["image", "label"])
            writer.writeheader()
            writer.writerows(rows)
    with pytest.raises(CuetuneError, match="row 4: an empty cell and no image; fill it or remove the row"):
        prepare(tmp_path / name, None, None, None, Settings())
    made = prepare(tmp_path / name, None, None, None, Settings(), skip_unreadable=True)
    assert sum(map(len, (made.splits.train, made.splits.validation, made.splits.test))) == 12
    assert made.notes[0] == "1 row left out:"


def test_splits_of_a_folder_are_used_and_said(tmp_path):
    for split, count in (("train", 6), ("val", 2), ("test", 3)):
        dark_and_light(tmp_path / "noise" / split, count)
    made = prepare(tmp_path / "noise", None, None, None, Settings())
    assert [len(part) for part in (made.splits.train, made.splits.validation, made.splits.test)] == [12, 4, 6]
    assert {example.where.split("/")[0] for example in made.splits.test} == {"test"}
    assert made.notes[0] == "noise: splits train, validation, test (--no-splits takes such folders for labels)"
    for only, told in (("val", "splits validation, but no train to learn from"), ("test", "splits test, but no train")):
        dark_and_light(tmp_path / only / only, 2)
        with pytest.raises(CuetuneError, match=told):
            prepare(tmp_path / only, None, None, None, Settings())


def test_a_split_without_labels_is_left_out_and_said(tmp_path):
    """As competitions hand them out."""
    dark_and_light(tmp_path / "images", 5)
    cells = [(f"images/{label}/{number}.png", label) for label in ("dark", "light") for number in range(5)]
    (tmp_path / "train.csv").write_text("image,label\n" + "".join(f"{path},{label}\n" for path, label in cells))
    (tmp_path / "test.csv").write_text("image\n" + "".join(f"{path}\n" for path, _ in cells[:2]))
    made = prepare(tmp_path, None, None, None, Settings())
    assert made.splits.test
    assert any("split test: no row has a label, so it is left out" in note for note in made.notes)


def test_a_label_with_a_space_is_the_label(tmp_path):
    dark_and_light(tmp_path / "noise", 4)
    rows = [{"image": str(path), "label": path.parent.name} for path in sorted(tmp_path.rglob("*.png"))]
    task = PICTURES.infer(list(PICTURES.read(rows)))
    spaced = list(PICTURES.read([{**rows[0], "label": " dark"}]))
    assert task.example(spaced[0]).label == "dark"
