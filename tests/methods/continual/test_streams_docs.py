"""docs/streams.md lists every method with its options and what they are by default."""

import re
from pathlib import Path

import pytest

from cuetune.methods.continual.pools import OF_HEADS, PoolLearner
from cuetune.methods.continual.registry import LEARNERS

DOCS = (Path(__file__).parents[3] / "docs" / "streams.md").read_text(encoding="utf-8")
TABLE = DOCS.split("## Methods")[1].split("## What")[0]
CELLS = [line.split("|")[1:] for line in TABLE.splitlines() if line.startswith("| ")]
OPTION = re.compile(r"`(\w+=[^`]*)`")


def listed(method: str) -> set[str]:
    """What the table's row of a method says of its options."""
    (options,) = (cells[2] for cells in CELLS if method in cells[0].strip(" `").split("`, `"))
    return set(OPTION.findall(options))


def said(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)


@pytest.mark.parametrize("name", LEARNERS)
def test_options_are_listed_with_their_defaults(name):
    kind = LEARNERS[name]
    shared = OF_HEADS if issubclass(kind, PoolLearner) else {}
    assert listed(name) == {f"{key}={said(value)}" for key, value in kind.defaults.items() if key not in shared}


def test_options_of_every_pool_are_listed():
    assert listed("every pool") == {f"{key}={said(value)}" for key, value in OF_HEADS.items()}
