"""A pool whose answers are ridge regression over prompted states: sums by hand, resumed runs, nothing of examples."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from test_learners import FEW, OPTIONS, POOLS, texts

from cuetune.errors import CuetuneError
from cuetune.methods.continual.registry import new_learner
from tiny import backbone
from tiny_vision import image_backbone

FIRST, SECOND = texts("pos", "neg"), texts("upper", "digit", seed=1)


def learner(name, frozen=None, **options):
    given = {**OPTIONS[name], "head": "ridge", "width": 40, **options}
    return new_learner(name, frozen or backbone("llama"), FEW.model_copy(update={"prompt_options": given}), 0)


@pytest.mark.parametrize("method", POOLS)
def test_answers_are_ridge_regression_over_the_states_of_each_task_at_its_end(method):
    """Rows to choose a step on count as well: nothing that a ridge regression chooses was chosen on them."""
    made, labels, seen = learner(method), ["pos", "neg", "upper", "digit"], []
    for task in (FIRST, replace(SECOND, train=SECOND.train[:-4], validation=SECOND.train[-4:])):
        made.learn(task)
        states = torch.cat(list(made.states_of(task.all_rows))).double()
        numbers = torch.tensor([labels.index(row.label) for row in task.all_rows])
        seen.append(((states @ made.regression.W).relu(), F.one_hot(numbers, 4).double()))
    h, y = (torch.cat(part) for part in zip(*seen, strict=True))
    identity = torch.eye(h.shape[1], dtype=torch.float64)
    head = torch.linalg.solve(h.T @ h + made.regression.ridge * identity, h.T @ y)
    asked = [*SECOND.train[:5], *FIRST.train[:5]]
    wanted = (torch.cat(list(made.states_of(asked))).double() @ made.regression.W).relu() @ head
    assert torch.allclose(made.logits(asked).double(), wanted, atol=1e-4)


def test_the_prompt_is_the_one_that_a_trained_head_leads_to():
    one, other = learner("coda"), learner("coda", head="trained")
    for made in (one, other):
        made.learn(FIRST)
        made.learn(SECOND)
    for name, value in one.prompt.state_dict().items():
        assert torch.equal(value, other.prompt.state_dict()[name])
    assert not torch.allclose(one.logits(FIRST.train), other.logits(FIRST.train), atol=1e-2)


def test_it_goes_on_from_its_state_to_the_same_numbers_and_keeps_no_row():
    whole = learner("coda")
    whole.learn(FIRST)
    tensors, spec = whole.state()
    sizes = {name: value.shape for name, value in tensors.items()}
    again = learner("coda")
    again.restore(tensors, spec)
    for made in (whole, again):
        made.learn(SECOND)
    assert torch.equal(again.logits(FIRST.train), whole.logits(FIRST.train))
    more = learner("coda")
    more.learn(texts("pos", "neg", count=40))
    assert {name: value.shape for name, value in more.state()[0].items()} == sizes, "sizes do not follow rows"


def test_a_state_of_a_version_without_the_option_is_that_of_a_trained_head():
    made = learner("coda", head="trained")
    made.learn(FIRST)
    tensors, spec = made.state()
    spec["options"] = {name: value for name, value in spec["options"].items() if name != "head"}
    again = learner("coda", head="trained")
    again.restore(tensors, spec)
    assert torch.equal(again.logits(FIRST.train), made.logits(FIRST.train))
    with pytest.raises(CuetuneError, match="the state is of options"):
        learner("coda").restore(tensors, spec)


@pytest.mark.parametrize("method", POOLS)
def test_after_a_first_session_the_pool_stays_and_the_order_of_tasks_does_not_matter(method):
    second, third = texts("upper", seed=1), texts("digit", seed=2)
    one, other = learner(method, first_session=True), learner(method, first_session=True)
    one.learn(FIRST)
    pool = {name: value.clone() for name, value in one.prompt.state_dict().items()}
    for task in (second, third):
        report = one.learn(task)
    assert (report["steps"], report["trained"]) == (0, 0)
    assert report["seconds"] > 0
    for task in (FIRST, third, second):
        other.learn(task)
    assert all(torch.equal(pool[name], value) for name, value in one.prompt.state_dict().items())
    order = [other.labels.index(label) for label in one.labels]
    made, again = one.regression, other.regression
    assert torch.allclose(made.all.G, again.all.G)
    assert torch.allclose(made.all.Q, again.all.Q[:, order])


def test_a_first_session_goes_on_from_its_state():
    whole, again = learner("coda", first_session=True), learner("coda", first_session=True)
    whole.learn(FIRST)
    again.restore(*whole.state())
    for made in (whole, again):
        made.learn(SECOND)
    assert torch.equal(again.logits(FIRST.train), whole.logits(FIRST.train))


def test_a_first_session_needs_sums():
    with pytest.raises(CuetuneError, match="first_session: of later tasks a trained head learns nothing"):
        learner("coda", head="trained", first_session=True)


def test_pictures_too(pictures):
    made = learner("coda", image_backbone("vit"))
    for task in pictures:
        made.learn(task)
    rows = [row for task in pictures for row in task.train]
    best = made.logits(rows).argmax(dim=1).tolist()
    right = [made.labels[number] == row.label for number, row in zip(best, rows, strict=True)]
    assert sum(right) > 0.7 * len(right)


def test_another_head_is_refused():
    with pytest.raises(CuetuneError, match="head 'none': choose one of trained, ridge"):
        learner("coda", head="none")
