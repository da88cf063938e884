"""A converted model is looked at again: by a sample each time it is loaded, byte by byte on request."""

import json

import pytest

from cuetune.errors import CuetuneError
from cuetune_catalog.models.kept_files import BLOCK, BLOCKS, SOURCE, WHOLE, check_files, check_once, digests


def kept(folder):
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(bytes(range(256)) * (2 * WHOLE // 256))
    (folder / SOURCE).write_text(json.dumps({"name": "tiny", "files": digests(folder)}))
    return folder


def flipped(path, at):
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("at", [0, -1, 2 * WHOLE * 20 // (BLOCKS - 1)])
def test_a_bit_in_the_sample_is_noticed_when_the_model_is_loaded(tmp_path, at):
    folder = kept(tmp_path / "tiny")
    check_once(folder)
    flipped(folder / "model.safetensors", at)
    with pytest.raises(CuetuneError, match="model.safetensors: is not what was converted .* cuetune models pull tiny"):
        check_once(folder)


def test_a_bit_beside_the_sample_is_noticed_on_request(tmp_path):
    folder = kept(tmp_path / "tiny")
    flipped(folder / "model.safetensors", BLOCK + 100)
    check_files(folder)
    with pytest.raises(CuetuneError, match="SHA-256 differs"):
        check_files(folder, whole=True)


@pytest.mark.parametrize("change", ["shorter", "missing", "another configuration"])
def test_other_files_are_noticed(tmp_path, change):
    folder = kept(tmp_path / "tiny")
    if change == "shorter":
        (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:-1])
    elif change == "missing":
        (folder / "config.json").unlink()
    else:
        (folder / "config.json").write_text('{"hidden_size": 1}')
    with pytest.raises(CuetuneError, match="tiny"):
        check_once(folder)


def test_a_folder_of_before_without_digests_passes_and_a_damaged_one_does_not(tmp_path):
    folder = kept(tmp_path / "tiny")
    (folder / SOURCE).write_text(json.dumps({"name": "tiny"}))
    check_files(folder, whole=True)
    for damaged in ("", "[]", '{"files": 5}', '{"files": {"config.json": 5}}', "[" * 5000):
        (folder / SOURCE).write_text(damaged)
        with pytest.raises(CuetuneError, match=SOURCE):
            check_once(folder)
