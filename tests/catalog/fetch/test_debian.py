"""Packages of a Debian archive: read without installing, fetched by a stand-in for apt, every refusal in one line."""

import hashlib
import sys

import pytest
from deb_file import deb, member

from cuetune.errors import CuetuneError
from cuetune_catalog.fetch.debian import fetch, files_of

FAKE_APT = """#!{python}
import pathlib, shutil, sys
here = pathlib.Path(__file__).parent
(here / "calls.txt").write_text(" ".join(sys.argv[1:]))
said = (here / "says.txt").read_text()
if said:
    sys.exit(said)
shutil.copy(here / "tiny_1.0_all.deb", ".")
"""


@pytest.mark.parametrize("compression", ["xz", "gz"])
def test_files_are_read_in_order_and_links_are_not(tmp_path, compression):
    wanted = {"usr/share/a.txt": b"first", "usr/share/b.txt": b""}
    with files_of(deb(tmp_path / "a.deb", wanted, compression)) as files:
        assert {name: content.read() for name, content in files} == wanted


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "not a Debian package"),
        (b"!<arch>\n" + member("debian-binary", b"2.0\n"), "a package without files"),
    ],
)
def test_what_is_no_package_is_refused(tmp_path, content, told):
    (tmp_path / "a.deb").write_bytes(content)
    with pytest.raises(ValueError, match=told), files_of(tmp_path / "a.deb"):
        pass


@pytest.fixture
def apt(tmp_path, monkeypatch):
    """A stand-in for apt-get that hands over a package, and an empty cache; says what is written to says.txt."""
    folder = tmp_path / "fake"
    folder.mkdir()
    deb(folder / "tiny_1.0_all.deb", {"usr/a": b"1"})
    (folder / "apt-get").write_text(FAKE_APT.format(python=sys.executable))
    (folder / "apt-get").chmod(0o755)
    (folder / "says.txt").write_text("")
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.setenv("CUETUNE_CACHE", str(tmp_path / "cache"))
    return folder


def pinned(folder):
    """Requirement and hash of the package."""
    return "tiny==1.0", hashlib.sha256((folder / "tiny_1.0_all.deb").read_bytes()).hexdigest()


def test_a_package_is_fetched_once(apt):
    path = fetch(*pinned(apt))
    assert path.name == "tiny_1.0_all.deb"
    assert (apt / "calls.txt").read_text() == "download tiny=1.0"
    (apt / "says.txt").write_text("E: no more")
    assert fetch(*pinned(apt)) == path


def test_another_file_than_the_pinned_one_is_not_kept(apt, tmp_path):
    with pytest.raises(CuetuneError, match="tiny==1.0: the downloaded file has SHA-256"):
        fetch("tiny==1.0", "0" * 64)
    assert not list((tmp_path / "cache").rglob("*.deb"))


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("E: Unable to locate package tiny", "apt's lists do not have it; run `apt-get update`"),
        ("E: Version '1.0' for 'tiny' was not found", "apt's lists do not have it"),
        ("E: Failed to fetch http://x  Could not resolve 'x'", "could not be reached; check the network"),
        ("E: something else", "apt-get could not download it"),
    ],
)
def test_refusals_say_what_to_do(apt, said, told):
    (apt / "says.txt").write_text(said)
    with pytest.raises(CuetuneError, match=told) as caught:
        fetch(*pinned(apt))
    assert "\n" not in str(caught.value)


def test_without_apt_that_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CUETUNE_CACHE", str(tmp_path / "cache"))
    with pytest.raises(CuetuneError, match="apt-get, which fetches it, is not on the PATH"):
        fetch("tiny==1.0", "0" * 64)
