"""Fetching from the npm registry, with an npm that is played: one line for every failure, nothing half-made kept."""

import hashlib
import sys

import pytest

from cuetune.errors import CuetuneError
from cuetune_catalog.fetch import npm

WANTED = "@scope/some-data==1.2.3"
CONTENT = b"what the archive holds"
RIGHT = hashlib.sha256(CONTENT).hexdigest()
TARGET = "sys.argv[sys.argv.index('--pack-destination') + 1] + '/scope-some-data-1.2.3.tgz'"
WRITES = f"open({TARGET}, 'wb').write({CONTENT!r})"


@pytest.fixture
def plays(monkeypatch, tmp_path):
    """A program `npm` that notes its arguments and does what it is told."""
    monkeypatch.setenv("CUETUNE_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def program(action):
        note = f"open({str(tmp_path / 'calls.txt')!r}, 'a').write(' '.join(sys.argv[1:]) + '\\n')"
        (folder / "npm").write_text(f"#!{sys.executable}\nimport sys\n{note}\n{action}\n")
        (folder / "npm").chmod(0o755)

    return program


def kept(tmp_path):
    return sorted(path.name for path in (tmp_path / "cache" / "packages").rglob("*"))


def test_an_archive_is_fetched_once_without_running_scripts(plays, tmp_path):
    plays(WRITES)
    path = npm.fetch(WANTED, RIGHT)
    assert path.read_bytes() == CONTENT
    assert npm.fetch(WANTED, RIGHT) == path
    assert kept(tmp_path) == ["scope-some-data-1.2.3.tgz"]
    (call,) = (tmp_path / "calls.txt").read_text().splitlines()
    assert call.startswith("pack @scope/some-data@1.2.3 ")
    assert "--ignore-scripts" in call


def test_another_checksum_is_refused_and_nothing_kept(plays, tmp_path):
    plays(WRITES)
    with pytest.raises(CuetuneError, match="SHA-256"):
        npm.fetch(WANTED, "0" * 64)
    assert kept(tmp_path) == []


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("npm error code ENOTFOUND", "the npm registry could not be reached"),
        ("npm error code E404", "the registry that npm uses does not have it"),
        ("npm error code ETARGET", "the registry that npm uses does not have it"),
        ("npm error code ENOSPC", "No space left on device"),
        ("npm ERROR something odd", "npm could not download it .npm ERROR something odd."),
    ],
)
def test_failures_are_one_line(plays, tmp_path, said, told):
    plays(f"sys.exit({said!r})")
    with pytest.raises(CuetuneError, match=told) as raised:
        npm.fetch(WANTED, RIGHT)
    assert "\n" not in str(raised.value)
    assert kept(tmp_path) == []


def test_without_npm_the_line_says_how_to_get_it(plays):
    with pytest.raises(CuetuneError, match="@scope/some-data==1.2.3: npm, .* is not on the PATH; install Node.js"):
        npm.fetch(WANTED, RIGHT)
