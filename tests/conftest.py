"""Settings that every test needs: no hub, a bounded number of threads, the tests' own folder on the path."""

import os
import sys
from importlib.metadata import EntryPoint
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
from cuetune.support import plugins  # noqa: E402

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


@pytest.fixture
def offered(monkeypatch):
    """Has an installed package offer something: offered(group, name, "module:attribute")."""

    def offer(group, name, value):
        monkeypatch.setitem(plugins.offers(group), name, [EntryPoint(name, value, group)])

    return offer


@pytest.fixture(scope="session")
def smollm2_folder():
    """The bundled model's folder, fetched once; tests that need it are skipped where it cannot be had."""
    from cuetune.errors import CuetuneError
    from cuetune_catalog.models.bundled import pull

    try:
        return pull("smollm2-135m")
    except CuetuneError as error:
        pytest.skip(f"the bundled model cannot be fetched here: {error}")
