"""Losses, gradients and answers of each kind of task, held against torch's own losses and finite differences."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from cuetune.answers import KINDS, refuse
from cuetune.data.row import Example, Row
from cuetune.data.task import Task
from cuetune.errors import CuetuneError

LABELS = ("a", "b", "c")
SEVERAL = Task(labels=LABELS, kind="multi-label")
SCALED = Task(kind="regression", scale=(10.0, 4.0))
SETS = [(), ("a",), ("b", "c"), ("a", "b", "c")]


def head(scores):
    """Scores of a linear head W h + b on fixed states, and the parameters."""
    states = torch.randn(4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    weight = torch.randn(scores, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1), requires_grad=True)
    bias = torch.zeros(scores, dtype=torch.float64, requires_grad=True)
    return lambda w, b: states @ w.T + b, weight, bias


def test_several_labels_have_torchs_binary_cross_entropy():
    scores, weight, bias = head(3)
    wanted = torch.tensor([[0, 0, 0], [1, 0, 0], [0, 1, 1], [1, 1, 1]], dtype=torch.float64)
    made = SEVERAL.answers.losses(scores(weight, bias), SETS)
    expected = F.binary_cross_entropy(scores(weight, bias).sigmoid(), wanted, reduction="none").mean(1)
    torch.testing.assert_close(made, expected)


def test_numbers_have_torchs_squared_error_in_standard_deviations():
    scores, weight, bias = head(1)
    numbers = [3.0, 10.0, 18.5, -2.0]
    made = SCALED.answers.losses(scores(weight, bias), numbers)
    wanted = (torch.tensor(numbers, dtype=torch.float64) - 10) / 4
    torch.testing.assert_close(made, F.mse_loss(scores(weight, bias)[:, 0], wanted, reduction="none"))
    values = SCALED.answers.values(scores(weight, bias))
    torch.testing.assert_close(values, 10 + 4 * scores(weight, bias))


@pytest.mark.parametrize(("task", "targets"), [(SEVERAL, SETS), (SCALED, [3.0, 10.0, 18.5, -2.0])])
def test_gradients_of_a_head_are_those_of_finite_differences(task, targets):
    scores, weight, bias = head(task.answers.n_scores)
    assert torch.autograd.gradcheck(lambda w, b: task.answers.losses(scores(w, b), targets), (weight, bias))


def test_a_label_is_given_from_its_threshold_on():
    task = Task(labels=LABELS, kind="multi-label", thresholds=(0.2, 0.5, 0.9))
    assert task.answers.prediction("row", [0.2, 0.49, 0.95]).label == ("a", "c")
    assert SEVERAL.answers.prediction("row", [0.2, 0.49, 0.3]).label == ()


def test_thresholds_come_from_validation_rows():
    predictions = [SEVERAL.answers.prediction("", values) for values in ([0.3, 0.9, 0.1], [0.1, 0.8, 0.2])]
    decided = SEVERAL.answers.decided(predictions, [("a",), ()])
    assert decided.thresholds[0] == pytest.approx(0.2)
    assert decided.thresholds[1:] == (0.5, 0.5)  # no row has them


def test_what_is_fitted_is_mean_and_deviation_of_the_rows_to_tune_on():
    examples = [Example("", {"text": "x"}, value) for value in (1.0, 2.0, 6.0)]
    assert Task(kind="regression").answers.fitted(examples).scale == pytest.approx((3.0, np.std([1, 2, 6])))
    with pytest.raises(CuetuneError, match="all rows to tune on have the number 1"):
        Task(kind="regression").answers.fitted(examples[:1] * 3)


def test_a_task_that_does_not_say_its_kind_follows_its_labels_and_is_saved_as_ever():
    assert Task(labels=("a", "b")).answers.kind == "classification"
    assert Task().answers.kind == "generation"
    assert set(Task().to_dict()) == set(Task(labels=("a", "b")).to_dict())
    assert "kind" not in Task().to_dict()
    full = Task(labels=LABELS, kind="multi-label", label_columns=("x", "y", "z"), thresholds=(0.1, 0.2, 0.3))
    assert Task.from_dict(full.to_dict()) == full
    assert Task.from_dict(SCALED.to_dict()) == SCALED


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"kind": "ranking"}, "unknown kind"),
        ({"kind": "multi-label"}, "needs its labels"),
        ({"kind": "regression", "labels": ("a", "b")}, "no labels"),
        ({"kind": "regression", "scale": (1.0, 0.0)}, "standard deviation above 0"),
        ({"kind": "multi-label", "labels": LABELS, "thresholds": (0.5,)}, "3 labels but 1 thresholds"),
    ],
)
def test_tasks_whose_parts_do_not_go_together(values, said):
    with pytest.raises(CuetuneError, match=said):
        Task(**values)


def test_what_cannot_take_a_kind_says_so_in_one_line():
    for kind, task in {"multi-label": SEVERAL, "regression": SCALED}.items():
        with pytest.raises(CuetuneError, match=f"cuetune fix cannot take a {kind} task"):
            refuse(task, "cuetune fix")
    refuse(Task(labels=("a", "b")), "cuetune fix")
    assert set(KINDS) == {"classification", "multi-label", "regression", "generation"}


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ({"labels": ["b", "a"]}, ("a", "b")),
        ({"labels": np.array(["c"], dtype=object)}, ("c",)),
        ({"labels": []}, ()),
        ({"labels": "['a', 'c']"}, ("a", "c")),
        ({"labels": '["b"]'}, ("b",)),
        ({"labels": "a, c"}, ("a", "c")),
        ({"labels": "c|b"}, ("b", "c")),
        ({"labels": ""}, ()),
        ({"a": "1", "b": 0, "c": True}, ("a", "c")),
        ({"a": 0.0, "b": "false", "c": "no"}, ()),
    ],
)
def test_a_prompt_reads_several_labels_in_whatever_form_rows_have_them(values, labels):
    task = Task(labels=LABELS, kind="multi-label", label_column="labels")
    row = Row("row 0", {"text": "x", **values})
    assert task.answers.labelled(row)
    assert task.example(row).label == labels


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"labels": ["a", "z"]}, "row 0, column 'labels': unknown label 'z'; expected any of 'a', 'b', 'c'"),
        ({"labels": "a, z"}, "unknown label 'a, z'"),
        ({"labels": None}, "no list of labels"),
        ({"labels": ["a", ""]}, "empty label"),
        ({"a": 1, "b": -1, "c": 0}, "column 'b': '-1' says neither yes nor no"),
        ({"a": 1, "b": None, "c": 0}, "column 'b': no label: an empty value"),
        ({"other": 1}, "no column 'labels'"),
    ],
)
def test_labels_that_mean_nothing_are_named(values, said):
    task = Task(labels=LABELS, kind="multi-label", label_column="labels")
    with pytest.raises(CuetuneError, match=said):
        task.example(Row("row 0", {"text": "x", **values}))


@pytest.mark.parametrize(
    ("value", "number"),
    [("3.5", 3.5), (" -2e-3 ", -0.002), ("3,5", 3.5), (7, 7.0), (np.float32(0.5), 0.5), (".5", 0.5)],
)
def test_numbers_are_read_as_people_write_them(value, number):
    task = Task(kind="regression", label_column="y")
    assert task.example(Row("row", {"text": "x", "y": value})).label == number


@pytest.mark.parametrize("value", ["high", "", "1_000", "1,234", "nan", "inf", None, float("nan"), True])
def test_what_is_no_number_is_named(value):
    with pytest.raises(CuetuneError, match="row 3, column 'y'"):
        Task(kind="regression", label_column="y").example(Row("row 3", {"text": "x", "y": value}))
