"""The records of data sets and models: complete, free of contradictions, and named by the entry points."""

import tomllib
from importlib import import_module
from pathlib import Path

import pytest
from pydantic import ValidationError

import cuetune_catalog.datasets
import cuetune_catalog.models
from cuetune_catalog.datasets.readers import reviews
from cuetune_catalog.datasets.registry import DATASETS, RECORDS, read_records
from cuetune_catalog.models.bundled import MODELS

PROJECT = Path(__file__).parents[2]
ENTRY_POINTS = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["entry-points"]


@pytest.mark.parametrize(
    ("group", "module", "records"),
    [("cuetune.datasets", cuetune_catalog.datasets, DATASETS), ("cuetune.models", cuetune_catalog.models, MODELS)],
)
def test_entry_points_name_every_record(group, module, records):
    declared = ENTRY_POINTS[group]
    assert sorted(declared) == sorted(records)
    for name, value in declared.items():
        place, _, attribute = value.partition(":")
        assert getattr(import_module(place), attribute) is records[name]
    assert not hasattr(module, "no_such_name")


def test_readers_and_converters_of_records_are_there():
    assert all(callable(each.read) for each in DATASETS.values())
    for each in MODELS.values():
        assert callable(import_module(f"cuetune_catalog.models.converters.{each.converter}").convert)


def test_packages_of_models_and_data_are_pinned_differently():
    parts = [part for each in MODELS.values() for part in each.parts]
    assert len({part.sha256 for part in parts}) == len(parts)
    packages = {package.requirement: package.sha256 for each in DATASETS.values() for package in each.packages.values()}
    assert len(set(packages.values())) == len(packages)


def record(tmp_path, **changes):
    """The first data set's record with changes; None leaves a key out."""
    declared = tomllib.loads(RECORDS.read_text())
    facts = {**declared["datasets"]["reviews-amazon"], **changes}
    package = declared["packages"]["vaderSentiment"]
    lines = ["[datasets.made]", *(f"{key} = {written(value)}" for key, value in facts.items() if value is not None)]
    lines += ["[packages.vaderSentiment]", *(f"{key} = {written(value)}" for key, value in package.items())]
    path = tmp_path / "datasets.toml"
    path.write_text("\n".join(lines))
    return path


def written(value):
    """A value as TOML writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {written(each)}" for key, each in value.items()) + " }"
    if isinstance(value, list):
        return f"[{', '.join(map(written, value))}]"
    return f'"{value}"' if isinstance(value, str) else str(value)


def test_record_is_read_as_it_is_declared(tmp_path):
    made = read_records(record(tmp_path))["made"]
    assert made == DATASETS["reviews-amazon"].model_copy(update={"name": "made"})
    assert made.read is reviews.read


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"target": "score2"}, "lack the target 'score2'"),
        ({"columns": ["text", "text", "label"]}, "the columns repeat themselves"),
        ({"rows": 2942}, "2942 rows, but its labels have 2943"),
        ({"rows": "2943"}, "valid integer"),
        ({"licence": None}, "licence"),
        ({"licence": ""}, "at least 1 character"),
        ({"license": "MIT"}, "license"),
        ({"modality": "picture"}, "'text', 'image', 'audio' or 'video'"),
        ({"labels": {"positive": 0, "negative": 2943}}, "greater than 0"),
    ],
)
def test_record_with_a_mistake_is_refused(tmp_path, changes, told):
    with pytest.raises(ValidationError, match=told):
        read_records(record(tmp_path, **changes))
