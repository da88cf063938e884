"""Stand-ins for pip and for what it downloads."""

import hashlib
import io
import json
import sys
import tarfile

import pytest

from cuetune_catalog.datasets.readers import reviews
from cuetune_catalog.datasets.registry import DATASETS

REVIEWS = [name for name, each in DATASETS.items() if each.reader == "reviews"]

FAKE_PIP = """#!{python}
import json, pathlib, shutil, sys
here = pathlib.Path(__file__).parent
plan = json.loads((here / "plan.json").read_text())
wanted = pathlib.Path(sys.argv[sys.argv.index("--requirement") + 1]).read_text()
with (here / "calls.txt").open("a") as log:
    log.write(" ".join(sys.argv[1:]) + " " + wanted)
if plan["says"]:
    sys.exit(plan["says"])
folder = pathlib.Path(sys.argv[sys.argv.index("--dest") + 1])
folder.mkdir(parents=True)
shutil.copy(plan["gives"], folder)
"""


class FakePip:
    """Stands in for `python -m pip`, without a network: hands over a file, or ends with a message."""

    def __init__(self, folder):
        self.folder = folder
        self.program = folder / "python"
        self.program.write_text(FAKE_PIP.format(python=sys.executable))
        self.program.chmod(0o755)
        self.says("ERROR: this test downloads nothing")

    def gives(self, path):
        (self.folder / "plan.json").write_text(json.dumps({"gives": str(path), "says": ""}))

    def says(self, message):
        (self.folder / "plan.json").write_text(json.dumps({"gives": "", "says": message}))

    @property
    def calls(self):
        log = self.folder / "calls.txt"
        return log.read_text().splitlines() if log.exists() else []


@pytest.fixture
def fake_pip(tmp_path, monkeypatch):
    """A `FakePip` in place of pip, and an empty cache."""
    folder = tmp_path / "fake"
    folder.mkdir()
    pip = FakePip(folder)
    monkeypatch.setattr(sys, "executable", str(pip.program))
    monkeypatch.setenv("CUETUNE_CACHE", str(tmp_path / "cache"))
    return pip


@pytest.fixture
def fake_reviews(fake_pip, tmp_path, monkeypatch):
    """A source archive like vaderSentiment's, of four rows for each domain, which the fake pip hands over."""
    lines = (
        '1\t2.5\tGood, "really" good — S&amp;M',
        "2\t0.5\tso-so",
        "3\t-0.50001\t  poor\t stuff ",
        "4\t-3\tüble Ware",
    )
    text = "\r\n".join(lines).encode()
    inner, path = io.BytesIO(), tmp_path / "vaderSentiment-3.3.2.tar.gz"
    with tarfile.open(fileobj=inner, mode="w:gz") as files:
        for member in (DATASETS[name].options["member"] for name in REVIEWS):
            _add(files, f"hutto_ICWSM_2014/{member}_GroundTruth.txt", text)
    with tarfile.open(path, "w:gz") as files:
        _add(files, reviews.INNER, inner.getvalue())
    pinned = {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    for name in REVIEWS:
        packages = {"vader": DATASETS[name].packages["vader"].model_copy(update=pinned)}
        monkeypatch.setitem(DATASETS, name, DATASETS[name].model_copy(update={"packages": packages}))
    fake_pip.gives(path)
    return fake_pip


def _add(files, name, content):
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    files.addfile(entry, io.BytesIO(content))
