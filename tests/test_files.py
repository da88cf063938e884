"""Files and folders appear whole or not at all, also when moving them fails half-way."""

import os

import pytest

from cuetune.errors import CuetuneError
from cuetune.support import files


def write(folder, text, **options):
    with files.atomic_folder(folder, **options) as new:
        (new / "a").write_text(text)


@pytest.mark.parametrize("exchange", [True, False])
def test_a_folder_is_replaced_whole(tmp_path, monkeypatch, exchange):
    if not exchange:
        monkeypatch.setattr(files, "_exchange", lambda new, target: False)
    write(tmp_path / "p", "old")
    write(tmp_path / "p", "new", overwrite=True)
    assert (tmp_path / "p" / "a").read_text() == "new"
    assert os.listdir(tmp_path) == ["p"]


def test_a_move_that_fails_puts_the_old_folder_back(tmp_path, monkeypatch):
    write(tmp_path / "p", "old")
    monkeypatch.setattr(files, "_exchange", lambda new, target: False)
    real, calls = os.replace, []

    def second_fails(source, target):
        calls.append(source)
        if len(calls) == 2:
            raise OSError(5, "Input/output error")
        real(source, target)

    monkeypatch.setattr(files.os, "replace", second_fails)
    with pytest.raises(CuetuneError, match="Input/output"):
        write(tmp_path / "p", "new", overwrite=True)
    assert (tmp_path / "p" / "a").read_text() == "old"
    assert os.listdir(tmp_path) == ["p"]


def test_an_error_inside_leaves_what_was_there(tmp_path):
    write(tmp_path / "p", "old")
    with pytest.raises(ZeroDivisionError), files.atomic_folder(tmp_path / "p", overwrite=True):
        1 / 0  # noqa: B018
    with pytest.raises(ZeroDivisionError), files.atomic_file(tmp_path / "f"):
        1 / 0  # noqa: B018
    assert os.listdir(tmp_path) == ["p"]
    assert (tmp_path / "p" / "a").read_text() == "old"


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CuetuneError, match="cannot write"), files.atomic_file(tmp_path / "file" / "x"):
        pass
