"""The table of docs/models.md: which path every causal and masked type takes, held against plain transformers."""

import json
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

import model_types  # noqa: E402

TABLE = {(each["type"], each["kind"]): each for each in json.loads(model_types.RESULT.read_text())}
BUILT = [key for key, each in TABLE.items() if each["path"] != "not built"]


@pytest.fixture(autouse=True)
def quiet():
    model_types.prepare()


def test_the_table_names_every_type_of_the_installed_transformers():
    assert set(TABLE) == {(name, kind) for kind in ("causal", "masked") for name in model_types.types(kind)}


def test_the_docs_hold_the_table():
    found = [model_types.Found(**each) for each in TABLE.values()]
    assert model_types.table(found) in model_types.DOCS.read_text()


def test_no_type_is_wrong_and_few_are_refused():
    paths = [each["path"] for each in TABLE.values() if each["kind"] == "causal" and each["path"] != "not built"]
    assert "wrong" not in {each["path"] for each in TABLE.values()}
    assert paths.count("fast") >= 60
    assert paths.count("refused") <= 0.05 * len(paths)
    assert max(each["difference"] or 0 for each in TABLE.values()) < 2.5e-6


@pytest.mark.parametrize("part", range(12))
def test_every_type_takes_the_path_of_the_table(part):
    for name, kind in BUILT[part::12]:
        found = model_types.examine(name, kind)
        assert found.path == TABLE[name, kind]["path"], f"{name}: {found}"
        assert (found.difference or 0) < 1e-5, f"{name}: {found}"
