"""The plot of accuracy matrices: drawn whole for one method or several, with numbers that the metrics give."""

import pytest

from cuetune.methods.continual.plots import _title, draw_matrices
from cuetune.metrics.continual import matrix

pytest.importorskip("matplotlib")

R = matrix([[0.9], [0.7, 0.8], [0.5, 0.9, 1.0]])


@pytest.mark.parametrize("methods", [1, 2, 4])
def test_matrices_are_drawn(tmp_path, methods):
    path = draw_matrices(tmp_path / "R.png", {f"method {n}": [R, R] for n in range(methods)}, ["a", "b", "c"])
    assert path.read_bytes().startswith(b"\x89PNG")
    assert [each.name for each in tmp_path.iterdir()] == ["R.png"]


def test_the_title_names_both_forgettings():
    assert _title("coda", [R, R]) == "coda: $A_N$ 80.0, 2 runs\nforgetting 15.0 (best − final), 12.5 (one step)"


def test_an_upper_bound_has_nothing_to_forget():
    once = matrix([[None], [None, None], [0.5, 0.9, 1.0]])
    assert _title("coda at once", [once]) == "coda at once: $A_N$ 80.0"
