"""The floors against closed forms: ridge regression on all rows at once, class means, and any order of tasks."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from cuetune.data.row import Example
from cuetune.data.task import Task
from cuetune.errors import CuetuneError
from cuetune.methods.continual import floors
from cuetune.methods.continual.floors import RanPAC, SimpleCIL
from cuetune.methods.continual.learner import Learner
from cuetune.methods.continual.ridge import RIDGES, RandomRidge, Sums, best_ridge, of_few, of_sums
from cuetune.tuning.runs import TaskData
from cuetune.tuning.settings import Settings
from tiny_vision import image_backbone

D, LABELS = 32, ("ant", "bee", "cat", "dog", "eel", "fox")


def rows(count=120, seed=0):
    """Rows whose only field is the number of their feature, and the features, around a centre for each label."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(len(LABELS), D, generator=generator)
    numbers = torch.randint(len(LABELS), (count,), generator=generator)
    table = centres[numbers] + 0.7 * torch.randn(count, D, generator=generator)
    return [Example(f"row {n}", {"image": str(n)}, LABELS[k]) for n, k in enumerate(numbers.tolist())], table


EXAMPLES, TABLE = rows()


def learner(kind, table=TABLE, **options):
    made = kind(image_backbone(), Settings(prompt_options=options))
    made.features = lambda examples, task=None: table[[int(each.fields["image"]) for each in examples]]
    return made


def task(*labels, examples=EXAMPLES):
    chosen = [each for each in examples if each.label in labels]
    return TaskData(Task(template="{image}", labels=labels, name="+".join(labels)), chosen)


def learned(kind, groups, **options):
    made = learner(kind, **options)
    for group in groups:
        made.learn(task(*group))
    return made


def in_order(made):
    """Logits with labels in alphabetical order, whatever order they were learned in."""
    return made.logits(EXAMPLES)[:, [made.labels.index(label) for label in LABELS]]


def test_ranpac_is_ridge_regression_on_all_rows_at_once():
    made = learned(RanPAC, [LABELS[:2], LABELS[2:4], LABELS[4:]], width=80, ridge=3.0)
    h = (TABLE.double() @ made.regression.W).relu().numpy()
    y = np.array([[float(each.label == label) for label in LABELS] for each in EXAMPLES])
    expected = h @ Ridge(alpha=3.0, fit_intercept=False, solver="cholesky").fit(h, y).coef_.T
    assert np.allclose(in_order(made).numpy(), expected, atol=1e-5)


def test_class_means_by_hand():
    made = learned(SimpleCIL, [LABELS[:3], LABELS[3:]])
    z = TABLE.double()
    means = torch.stack([z[[each.label == label for each in EXAMPLES]].mean(dim=0) for label in LABELS])
    expected = torch.nn.functional.cosine_similarity(z[:, None], means[None], dim=-1)
    assert torch.allclose(in_order(made), expected.float(), atol=1e-6)
    assert in_order(made).abs().max() <= 1


@pytest.mark.parametrize(("kind", "options"), [(SimpleCIL, {}), (RanPAC, {"width": 60, "ridge": 1.0})])
def test_neither_order_nor_number_of_tasks_matters(kind, options):
    once = in_order(learned(kind, [LABELS], **options))
    for groups in ([LABELS[:2], LABELS[2:]], [LABELS[3:], LABELS[:3]], [(label,) for label in reversed(LABELS)]):
        assert torch.allclose(in_order(learned(kind, groups, **options)), once, atol=1e-5)


@pytest.mark.parametrize(("kind", "options"), [(SimpleCIL, {}), (RanPAC, {"width": 60, "ridge": 1.0})])
def test_a_label_seen_again_in_another_domain_adds_up(kind, options):
    made = learner(kind, **options)
    data = task(*LABELS)
    for part in (data.train[:50], data.train[50:]):
        made.learn(TaskData(data.task, part))
    assert made.labels == list(LABELS)
    assert torch.allclose(made.logits(EXAMPLES), in_order(learned(kind, [LABELS], **options)), atol=1e-5)


@pytest.mark.parametrize(("kind", "options"), [(SimpleCIL, {}), (RanPAC, {"width": 60})])
def test_a_restored_learner_goes_on_to_the_same_numbers(kind, options):
    whole = learned(kind, [LABELS[:3], LABELS[3:]], **options)
    tensors, spec = learned(kind, [LABELS[:3]], **options).state()
    again = learner(kind, **options)
    again.restore(tensors, spec)
    again.learn(task(*LABELS[3:]))
    assert torch.equal(again.logits(EXAMPLES), whole.logits(EXAMPLES))


@pytest.mark.parametrize(("kind", "options"), [(SimpleCIL, {}), (RanPAC, {"width": 60, "ridge": 1.0})])
def test_the_state_does_not_grow_with_rows(kind, options, monkeypatch):
    def size(count):
        examples, table = rows(count)
        made = learner(kind, table, **options)
        made.learn(task(*LABELS, examples=examples))
        return sum(value.numel() for value in made.state()[0].values())

    assert size(60) == size(600)
    few = in_order(learned(kind, [LABELS], **options))
    monkeypatch.setattr(floors, "ROWS_AT_ONCE", 7)
    assert torch.allclose(in_order(learned(kind, [LABELS], **options)), few, atol=1e-5)


def test_the_ridge_is_that_with_the_smallest_error_on_the_rows_left_out():
    made = learned(RanPAC, [LABELS], width=50)
    data = task(*LABELS)
    fit = torch.zeros(len(data.train), dtype=torch.bool)
    for label in LABELS:
        own = [n for n, each in enumerate(data.train) if each.label == label]
        fit[own[: int(0.8 * len(own))]] = True
    h = (TABLE.double() @ made.regression.W).relu()
    y = torch.tensor([[float(each.label == label) for label in LABELS] for each in EXAMPLES], dtype=torch.float64)
    errors = []
    for ridge in RIDGES:
        G = h[fit].T @ h[fit] + ridge * torch.eye(50, dtype=torch.float64)
        errors.append(float((y[~fit] - h[~fit] @ torch.linalg.solve(G, h[fit].T @ y[fit])).square().sum()))
    assert made.regression.ridge == RIDGES[int(np.argmin(errors))]
    assert 1e-8 < made.regression.ridge < 1e8


def test_rows_in_the_order_of_their_labels_choose_the_same_ridge():
    """Tables are often sorted by label; a last fifth of labels that the rest lacks would ask for the largest ridge."""
    ordered = sorted(EXAMPLES, key=lambda each: each.label)
    made = learner(RanPAC, width=50)
    made.learn(task(*LABELS, examples=ordered))
    assert made.regression.ridge == learned(RanPAC, [LABELS], width=50).regression.ridge


def test_without_rows_to_check_on_the_ridge_is_one():
    one = Sums(3, 1)
    one.add(torch.ones(1, 3, dtype=torch.float64), torch.ones(1, 1, dtype=torch.float64))
    assert best_ridge(of_sums(one), Sums(3, 1)) == 1.0


@pytest.mark.parametrize("rows", [5, 30, 60])
def test_heads_of_few_rows_are_those_of_their_sums(rows):
    draw = torch.Generator().manual_seed(rows)
    h = torch.randn(rows, 40, generator=draw, dtype=torch.float64).relu()
    y = torch.eye(3, dtype=torch.float64)[torch.arange(rows) % 3]
    sums = Sums(40, 3)
    sums.add(h, y)
    for ridge in (1e-3, 1.0, 1e4):
        wanted = torch.linalg.solve(sums.G + ridge * torch.eye(40, dtype=torch.float64), sums.Q)
        for heads in (of_sums(sums), of_few(h, y)):
            found = heads.basis @ (heads.right / (heads.values + ridge)[:, None])
            assert torch.allclose(found, wanted, atol=1e-8), ridge


def test_few_rows_choose_their_ridge_by_a_small_decomposition(monkeypatch):
    """As many columns as the default would make every task wait for seconds."""
    sizes, real = [], torch.linalg.eigh
    monkeypatch.setattr(torch.linalg, "eigh", lambda matrix: sizes.append(len(matrix)) or real(matrix))
    chosen = []
    for count in (20, 200):
        made = RandomRidge(4, 50, seed=0)
        z = torch.randn(count, 4, generator=torch.Generator().manual_seed(1))
        made.begin(2, torch.arange(count) % 5 > 0)
        for first in range(0, count, 7):
            made.add(z[first : first + 7], torch.eye(2, dtype=torch.float64)[(z[first : first + 7, 0] > 0).long()])
        made.end()
        chosen.append(made.ridge)
    assert sizes == [16, 50]
    assert all(1e-8 < ridge < 1e8 for ridge in chosen)


def test_they_are_known_by_name():
    assert Learner.learners["simple-cil"] is SimpleCIL
    assert Learner.learners["ranpac"] is RanPAC
    with pytest.raises(CuetuneError, match="at least one column"):
        learner(RanPAC, width=0)


def test_another_projection_is_refused():
    made = learned(RanPAC, [LABELS], width=20)
    tensors, spec = made.state()
    with pytest.raises(CuetuneError, match="another random projection"):
        learner(RanPAC, width=20).restore({**tensors, "W_begins": tensors["W_begins"] + 1}, spec)
