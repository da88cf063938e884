"""The architecture: imports point one way, no circle among files, and every modality has its place in every layer."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import cuetune
from cuetune.backbones.registry import LOADERS
from cuetune.comparison.contenders import CONTENDERS
from cuetune.data.readers.registry import READERS
from cuetune.evaluation.features import FEATURES
from cuetune.modality import MODALITIES
from cuetune.prediction.registry import PREDICTORS
from cuetune.prompts.registry import METHODS, STARTS
from cuetune.tuning.runs import RUNS

ROOT = Path(cuetune.__file__).parents[1]
FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for package in ("cuetune", "cuetune_catalog")
    for path in (ROOT / package).rglob("*.py")
}
# What a library lists is read without torch; what it takes in needs more.
LATE = {"cuetune.library.collection", "cuetune.library.digest", "cuetune.library.storage"}


def only_for_types(tree: ast.Module) -> set[ast.AST]:
    """Everything under `if TYPE_CHECKING`."""
    tests = [node for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)]
    return {inside for test in tests for inside in ast.walk(test)}


def imports(module: str, tree: ast.AST, skipped: set[ast.AST]) -> Iterator[tuple[str, int]]:
    """The files that a file imports, each with the line."""
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for name in node.names:
                whole = f"{node.module}.{name.name}"
                target = whole if whole in FILES else node.module
                if target in FILES and target != module:
                    yield target, node.lineno
        elif isinstance(node, ast.Import):
            yield from ((name.name, node.lineno) for name in node.names if name.name in FILES)


def graph() -> dict[str, set[str]]:
    arrows: dict[str, set[str]] = {}
    for module, path in FILES.items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        arrows[module] = {target for target, _ in imports(module, tree, only_for_types(tree))}
    return arrows


def circle(arrows: dict[str, set[str]]) -> list[str]:
    """One circle, as the files on it; empty where there is none."""
    done: set[str] = set()

    def visit(module: str, way: list[str]) -> list[str]:
        if module in way:
            return way[way.index(module) :]
        if module in done:
            return []
        for target in sorted(arrows[module]):
            if found := visit(target, [*way, module]):
                return found
        done.add(module)
        return []

    return next((found for module in arrows if (found := visit(module, []))), [])


def test_import_contracts_hold():
    """Layers, catalog, transformers and methods: `[tool.importlinter]` in pyproject.toml."""
    lint = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as lint; lint()"]
    done = subprocess.run([*lint, "--no-cache"], cwd=ROOT.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_circle_among_files():
    assert circle(graph()) == []


def test_circle_is_found():
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c"]


def test_no_import_of_cuetune_inside_functions():
    late = []
    for module, path in FILES.items():
        if module.startswith(("cuetune.cli", "cuetune_catalog")) or module in LATE:
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for function in ast.walk(tree):
            if isinstance(function, ast.FunctionDef):
                late += [f"{module}:{line} imports {target}" for target, line in imports(module, function, set())]
    assert late == []


@pytest.mark.parametrize(
    "table",
    [LOADERS, READERS, METHODS, RUNS, PREDICTORS, FEATURES, CONTENDERS],
    ids=("loaders", "readers", "methods", "runs", "predictors", "features", "contenders"),
)
def test_every_modality_has_its_place_in_every_layer(table):
    assert set(table) == set(MODALITIES)


def test_every_modality_but_text_starts_from_rows():
    assert set(STARTS) == set(MODALITIES) - {"text"}


@pytest.mark.parametrize("modality", MODALITIES.values(), ids=lambda each: each.name)
def test_defaults_of_a_modality_are_there(modality):
    assert modality.prompt in METHODS[modality.name]
    assert set(modality.compared) <= set(CONTENDERS[modality.name])
    assert READERS[modality.name].modality is modality


def test_public_names_are_seen_by_type_checkers():
    """The imports under TYPE_CHECKING are those that are made when a name is first used."""
    tree = ast.parse(FILES["cuetune"].read_text(encoding="utf-8"))
    typed = {
        name.asname: node.module
        for node in only_for_types(tree)
        if isinstance(node, ast.ImportFrom)
        for name in node.names
    }
    assert typed == cuetune._PUBLIC
    assert all(getattr(cuetune, name) is not None for name in cuetune.__all__)
