"""Damaged files of every kind are one line: no traceback, no hang, no memory beyond the file's own. Seconds here;
`make fuzz` goes on for as long as it is given."""

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from fuzz.damage import EDITS
from fuzz.readers import READERS
from fuzz.watch import Watched

KINDS = [(name, file) for name, reader in READERS.items() for file in reader.files]


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    return {name: Watched(reader, tmp_path_factory.mktemp("fuzz") / "it") for name, reader in READERS.items()}


@pytest.mark.parametrize(("name", "file"), KINDS)
def test_damage_is_one_line(watched, name, file):
    @settings(
        max_examples=40,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate,),
    )
    @given(EDITS)
    def one_line(edits):
        watched[name].read_damaged(file, edits)

    one_line()
