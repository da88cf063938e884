"""Damaged files for as long as it is given: `python -m fuzz.long --minutes 30`, from tests/. Prints what went wrong."""

import argparse
import itertools
import os
import sys
import tempfile
import time
import traceback
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"  # a damaged name of a file is none of a data set

from hypothesis import HealthCheck, Phase, given, seed, settings  # noqa: E402

from fuzz.damage import EDITS  # noqa: E402
from fuzz.readers import READERS  # noqa: E402
from fuzz.watch import Watched  # noqa: E402

EACH = 100  # files between two looks at the clock


def main() -> int:
    """0 when every damaged file was one line or read well; 1 when one was not."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0, help="How long. Default: 30.")
    parser.add_argument("--seed", type=int, default=None, help="Where to begin. Default: the time.")
    asked = parser.parse_args()
    first = int(time.time()) if asked.seed is None else asked.seed
    ends, files, faults = time.monotonic() + 60 * asked.minutes, 0, 0
    kinds = [(name, file) for name, reader in READERS.items() for file in reader.files]
    with tempfile.TemporaryDirectory(prefix="cuetune-fuzz-") as folder:
        watched = {name: Watched(reader, Path(folder) / name / "it") for name, reader in READERS.items()}
        for rounds in itertools.count():
            for name, file in kinds:
                faults += not _round(watched[name], name, file, first + rounds)
                files += EACH
                if time.monotonic() > ends:
                    print(f"{files:,} damaged files in {rounds + 1} rounds, {faults} faults")
                    return 1 if faults else 0
    return 1


def _round(watched: Watched, name: str, file: str, number: int) -> bool:
    """Whether some damaged files of one kind were all one line; what was not is printed with its smallest form."""

    @seed(number)
    @settings(
        max_examples=EACH,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
        report_multiple_bugs=False,
    )
    @given(EDITS)
    def one_line(edits: list) -> None:
        watched.read_damaged(file, edits)

    try:
        one_line()
    except Exception:
        print(f"{name}, {file}, --seed {number}:\n{traceback.format_exc()}", flush=True)
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
