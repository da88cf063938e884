"""The review data: what is written from the source archive, and the counts that the catalogue promises."""

import csv
from collections import Counter

import pytest

from cuetune.errors import CuetuneError
from cuetune.support.cache_dir import cache_dir
from cuetune_catalog.datasets.readers import reviews
from cuetune_catalog.datasets.registry import DATASETS, pull_data

NAMES = ["reviews-amazon", "reviews-movies", "reviews-tweets", "reviews-editorials"]


def read(path):
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_clear_scores_become_labels_and_texts_stay(fake_reviews, tmp_path):
    path = pull_data("reviews-movies", tmp_path / "new" / "data")
    assert path == tmp_path / "new" / "data" / "reviews-movies.csv"
    assert [list(row.values()) for row in read(path)] == [
        ['Good, "really" good — S&amp;M', "positive", "2.5", "1"],
        ["poor\t stuff", "negative", "-0.50001", "3"],
        ["üble Ware", "negative", "-3", "4"],
    ]
    assert path.read_bytes().startswith(b"text,label,score,id")


def test_one_download_serves_all_four(fake_reviews, tmp_path):
    for name in NAMES:
        pull_data(name, tmp_path)
    assert len(fake_reviews.calls) == 1
    assert "--no-binary :all:" in fake_reviews.calls[0]
    assert "vaderSentiment==3.3.2 --hash=sha256:" in fake_reviews.calls[0]


def test_failures_are_one_line_and_leave_nothing(fake_pip, tmp_path):
    with pytest.raises(CuetuneError, match="no data set 'reviews-books'; choose one of reviews-amazon"):
        pull_data("reviews-books", tmp_path / "data")
    fake_pip.says("ERROR: No matching distribution found for vaderSentiment==3.3.2")
    with pytest.raises(CuetuneError, match="vaderSentiment==3.3.2: the package index that pip uses does not have it"):
        pull_data("reviews-tweets", tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_a_changed_archive_is_refused_and_a_damaged_copy_is_fetched_anew(fake_reviews, tmp_path, monkeypatch):
    pull_data("reviews-tweets", tmp_path)
    kept = cache_dir() / "packages" / "vaderSentiment-3.3.2.tar.gz"
    kept.write_bytes(kept.read_bytes()[:-1])
    pull_data("reviews-tweets", tmp_path)
    assert len(fake_reviews.calls) == 2
    data = DATASETS["reviews-editorials"]
    another = {"vader": data.packages["vader"].model_copy(update={"sha256": "cd" * 32})}
    monkeypatch.setitem(DATASETS, data.name, data.model_copy(update={"packages": another}))
    with pytest.raises(CuetuneError, match="expected cdcdcdcdcdcdcdcd…; it was not kept"):
        pull_data("reviews-editorials", tmp_path)
    assert not (tmp_path / "reviews-editorials.csv").exists()


def full(**_):
    yield ("first", "positive", "1", "1")
    raise OSError(28, "No space left on device")


def test_a_write_that_fails_keeps_the_older_file(fake_reviews, tmp_path, monkeypatch):
    path = pull_data("reviews-amazon", tmp_path)
    before = path.read_bytes()
    monkeypatch.setattr(reviews, "read", full)
    with pytest.raises(CuetuneError, match="cannot write: No space left on device"):
        pull_data("reviews-amazon", tmp_path)
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir() if each.name.startswith(".")] == []


def test_the_cached_copy_is_written_once_and_never_half(fake_reviews, monkeypatch):
    read_before = reviews.read
    monkeypatch.setattr(reviews, "read", full)
    with pytest.raises(CuetuneError, match="No space left"):
        DATASETS["reviews-amazon"].source()
    monkeypatch.setattr(reviews, "read", read_before)
    path = DATASETS["reviews-amazon"].source()
    assert len(read(path)) == 3
    monkeypatch.setattr(reviews, "read", full)
    assert DATASETS["reviews-amazon"].source() == path


def test_the_card_says_whom_to_cite():
    assert all("Hutto" in DATASETS[name].citation for name in NAMES)
    assert [DATASETS[name].rows for name in NAMES] == [2943, 10043, 3362, 2788]


@pytest.fixture(scope="module")
def real_folder(tmp_path_factory):
    """All four files from the real archive; tests that need them are skipped where it cannot be had."""
    folder = tmp_path_factory.mktemp("reviews")
    try:
        for name in NAMES:
            pull_data(name, folder)
    except CuetuneError as error:
        pytest.skip(f"the reviews cannot be fetched here: {error}")
    return folder


@pytest.mark.parametrize(("name", "repeated"), [(n, r) for n, r in zip(NAMES, (8, 2, 0, 37), strict=True)])
def test_the_real_data_is_what_the_catalogue_and_the_cards_say(real_folder, name, repeated):
    rows = read(real_folder / f"{name}.csv")
    assert Counter(row["label"] for row in rows) == DATASETS[name].labels
    assert all((float(row["score"]) > 0.5) == (row["label"] == "positive") for row in rows)
    assert all(abs(float(row["score"])) > 0.5 for row in rows)
    assert len({row["id"] for row in rows}) == len(rows)
    assert all(row["text"].strip() == row["text"] != "" and "\ufffd" not in row["text"] for row in rows)
    assert sum(count > 1 for count in Counter(row["text"] for row in rows).values()) == repeated
