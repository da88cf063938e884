"""Learners on tiny models: each learns two tasks, forgets as it should, stops and goes on, and keeps no example."""

import json
import random
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save

from cuetune.data.reading import read_rows
from cuetune.data.task import Task
from cuetune.errors import CuetuneError
from cuetune.methods.continual.learner import Learner
from cuetune.methods.continual.pools import PoolLearner, layers_of
from cuetune.methods.continual.registry import new_learner
from cuetune.methods.continual.tuned import TunedLearner
from cuetune.methods.continual.weights import joint_data
from cuetune.tuning.loop import Tuner
from cuetune.tuning.runs import TaskData
from cuetune.tuning.settings import Settings
from tiny import backbone
from tiny_vision import image_backbone

SAID = {"pos": ("good", "great"), "neg": ("bad", "awful"), "upper": ("ABCD", "QRS"), "digit": ("4711", "0815")}
SHORT = Settings(steps=24, batch_size=8, evaluate_every=24, checkpoint_every=5)
FEW = SHORT.model_copy(update={"steps": 3})
OPTIONS = {
    "coda": {"components": 4, "length": 4},
    "l2p": {"pool": 6, "length": 2, "top": 3},
    "l2p++": {"pool": 6, "length": 4, "top": 3},
    "dual": {"general": 1, "shared": 2, "length": 4},
    "task-prompts": {"length": 4},
}
POOLS = tuple(OPTIONS)
TUNED = (*POOLS, "ft", "ft++")


def texts(*labels: str, count: int = 16, seed: int = 0, name: str = "") -> TaskData:
    task = Task(template="Say {text} =", labels=labels, name=name or "-".join(labels))
    draw, table = random.Random(seed), []
    for number in range(count):
        label = labels[number % len(labels)]
        table.append({"text": f"{''.join(draw.choices('xyzuvw', k=3))} {draw.choice(SAID[label])}", "label": label})
    return TaskData(task, [task.example(row) for row in read_rows(table)])


def learner(name: str, frozen=None, settings: Settings = SHORT, seed: int = 0) -> Learner:
    given = settings.model_copy(update={"prompt_options": OPTIONS.get(name, {})})
    return new_learner(name, frozen or backbone("llama"), given, seed)


def accuracy(made: Learner, data: TaskData) -> float:
    found = made.logits(data.train).argmax(dim=1).tolist()
    return sum(made.labels[number] == each.label for number, each in zip(found, data.train, strict=True)) / len(found)


FIRST, SECOND = texts("pos", "neg"), texts("upper", "digit", seed=1)


@pytest.mark.parametrize("name", TUNED)
def test_two_tasks_of_texts(name):
    made = learner(name)
    report = made.learn(FIRST)
    assert made.labels == ["pos", "neg"]
    assert accuracy(made, FIRST) >= 0.9
    assert report["steps"] == 24
    assert report["trained"] > 0
    logits, kept = made.logits(FIRST.train), made.head.weight.clone()
    made.learn(SECOND)
    assert (made.labels, made.tasks) == (["pos", "neg", "upper", "digit"], 2)
    assert made.task.labels == tuple(made.labels)
    after = made.logits(FIRST.train)
    assert after.shape == (16, 4)
    assert after.dtype == torch.float32
    assert accuracy(made, SECOND) >= (0.9 if name == "ft" else 0.6)
    # Only the labels of a task compete, so that the head's other rows stay bit by bit; but for FT, which unlearns.
    assert torch.equal(made.head.weight[:2], kept) == (name != "ft")
    assert not torch.equal(after[:, :2], logits), "the prompt or the model has changed"


@pytest.mark.parametrize("name", ["coda", "l2p", "dual", "ft++"])
def test_two_tasks_of_pictures(name, pictures):
    frozen = image_backbone("vit")
    before = {key: value.clone() for key, value in frozen.model.state_dict().items()}
    made = learner(name, frozen)
    for task in pictures:
        made.learn(task)
        assert accuracy(made, task) >= 0.8
    assert accuracy(made, pictures[0]) >= 0.5
    assert all(torch.equal(value, before[key]) for key, value in frozen.model.state_dict().items())


@pytest.mark.parametrize("name", ["coda", "dual", "ft++"])
def test_a_task_that_diverges_spoils_nothing_where_there_are_rows_to_choose_on(name):
    """Rows of the same labels come again and are tuned at an absurd rate: the best step is the one before the first."""
    again = texts("pos", "neg", seed=3)
    accuracies = []
    for validation in ((), texts("pos", "neg", seed=4).train):
        made = learner(name)
        made.learn(FIRST)
        assert accuracy(made, FIRST) >= 0.9
        made.settings = made.settings.model_copy(update={"learning_rate": 50.0, "evaluate_every": 4})
        made.learn(replace(again, validation=validation))
        accuracies.append(accuracy(made, FIRST))
    assert accuracies[0] < 0.9 <= accuracies[1]


def test_what_earlier_tasks_learned_is_bit_identical():
    made = learner("coda", settings=FEW)
    made.learn(FIRST)
    before = {name: value.clone() for name, value in made.prompt.state_dict().items()}
    head = (made.head.weight.clone(), made.head.bias.clone())
    made.learn(SECOND)
    for name in ("components", "keys", "attention"):
        assert torch.equal(made.prompt.state_dict()[f"{name}.kept"], before[f"{name}.current"])
    assert torch.equal(made.head.weight[:2], head[0])
    assert torch.equal(made.head.bias[:2], head[1])


def test_a_decayed_run_moves_no_earlier_row():
    made = learner("coda", settings=FEW.model_copy(update={"weight_decay": 0.5}))
    made.learn(FIRST)
    before, head = made.prompt.state_dict()["components.current"].clone(), made.head.weight.clone()
    made.learn(SECOND)
    assert torch.equal(made.prompt.state_dict()["components.kept"], before)
    assert torch.equal(made.head.weight[:2], head)


@pytest.mark.parametrize("name", TUNED)
def test_restored_after_a_task_it_goes_on_to_the_same_numbers(name):
    whole = learner(name, settings=FEW)
    whole.learn(FIRST)
    tensors, spec = whole.state()
    spec = json.loads(json.dumps(spec))
    again = learner(name, settings=FEW)
    again.restore(tensors, spec)
    assert torch.equal(again.logits(FIRST.train), whole.logits(FIRST.train))
    whole.learn(SECOND)
    again.learn(SECOND)
    assert torch.equal(again.logits(SECOND.train), whole.logits(SECOND.train))
    both = [made.state()[0] for made in (whole, again)]
    assert both[0].keys() == both[1].keys()
    assert all(torch.equal(value, both[1][key]) for key, value in both[0].items())


def test_killed_within_a_task_it_goes_on_to_the_same_numbers(tmp_path, monkeypatch):
    whole, stopped = learner("coda"), learner("coda")
    whole.learn(FIRST)
    stopped.learn(FIRST)
    state = stopped.state()
    real, steps = Tuner._step, []

    def step(tuner, chosen):
        if len(steps) == 13:
            raise KeyboardInterrupt
        steps.append(chosen)
        return real(tuner, chosen)

    monkeypatch.setattr(Tuner, "_step", step)
    with pytest.raises(KeyboardInterrupt):
        stopped.learn(SECOND, folder=tmp_path)
    monkeypatch.setattr(Tuner, "_step", real)
    assert (tmp_path / "checkpoint.safetensors").exists()
    again = learner("coda")
    again.restore(*state)
    assert again.learn(SECOND, folder=tmp_path)["steps"] == 24
    whole.learn(SECOND)
    assert torch.equal(again.logits(SECOND.train), whole.logits(SECOND.train))
    assert torch.equal(again.head.weight, whole.head.weight)


@pytest.mark.parametrize("name", POOLS)
def test_the_state_holds_no_example_and_does_not_grow_with_them(name):
    sizes = []
    for count in (16, 64):
        made = learner(name, settings=FEW)
        made.learn(texts("pos", "neg", count=count))
        tensors, spec = made.state()
        content = save(tensors, {"spec": json.dumps(spec)})
        sizes.append(sum(value.numel() for value in tensors.values()))
        for example in texts("pos", "neg", count=count).train:
            assert example.fields["text"].encode() not in content
            query = made.features([example], made.task)
            for value in tensors.values():
                if value.dim() and value.shape[-1] == query.shape[1]:
                    assert not (value.reshape(-1, query.shape[1]) - query).abs().amax(dim=1).lt(1e-4).any()
    assert sizes[0] == sizes[1]


def test_a_picture_or_text_goes_through_the_backbone_once_in_a_step(monkeypatch):
    frozen = backbone("llama")
    made, passes = learner("coda", settings=FEW), []
    real = type(frozen).hidden_mixed

    def counted(self, parts):
        passes.append(sum(len(rows.lengths) for rows, _ in parts))
        return real(self, parts)

    monkeypatch.setattr(type(frozen), "hidden_mixed", counted)
    made.learn(FIRST)
    # 16 queries; 16 rows to see how large states are, with queries of their own; and then 3 steps of 8 rows.
    assert passes == [16, 16, 16, 8, 8, 8]
    made.end_task(FIRST)
    assert len(passes) == 6, "queries are remembered"


@pytest.mark.parametrize(("method", "stays"), [("coda", True), ("l2p++", True), ("coda", False), ("ft++", False)])
def test_the_row_of_a_label_that_comes_again_stays_only_where_it_is_asked_for(method, stays):
    options = {**OPTIONS.get(method, {}), **({"freeze_head": True} if stays else {})}
    made = new_learner(method, backbone("llama"), FEW.model_copy(update={"prompt_options": options}), 0)
    made.learn(texts("pos", "neg", "upper"))
    head, bias = made.head.weight.clone(), made.head.bias.clone()
    made.learn(texts("upper", "digit", seed=3))
    assert made.labels == ["pos", "neg", "upper", "digit"]
    assert torch.equal(made.head.weight[:2], head[:2])
    assert torch.equal(made.head.weight[2], head[2]) == stays
    assert torch.equal(made.head.bias[2], bias[2]) == stays
    assert (made.head.weight[2] - head[2]).norm() < head[2].norm()


def test_a_head_begins_as_a_probe_where_all_labels_come_at_once():
    for kind, mirrored in (("classes", False), ("domains", True)):
        made = learner("coda", settings=FEW.model_copy(update={"learning_rate": 1e-9}))
        made.kind = kind
        made.learn(FIRST)
        assert len(made.head.weight) == 2
        # A probe of two labels has one direction, and its head the two signs of it.
        assert torch.allclose(made.head.weight[0], -made.head.weight[1], atol=1e-4) == mirrored


def test_domains_share_their_labels():
    made = learner("coda")
    for seed in (0, 1):
        made.learn(texts("pos", "neg", seed=seed, name=f"domain {seed}"))
    assert made.labels == ["pos", "neg"]
    assert made.prompt.tasks == 2
    assert accuracy(made, FIRST) >= 0.7


def test_the_order_of_a_tasks_labels_decides_nothing():
    """Labels in another order are the same classes in other columns; the start of their rows differs, nothing else."""
    found = []
    for labels in (("pos", "neg"), ("neg", "pos")):
        made = learner("coda")
        made.learn(TaskData(replace(FIRST.task, labels=labels, label_words=labels), FIRST.train))
        found.append([made.labels[number] for number in made.logits(FIRST.train).argmax(dim=1).tolist()])
    assert sum(one == other for one, other in zip(*found, strict=True)) >= 15


def test_seeds_differ_and_repeat():
    logits = []
    for seed in (0, 0, 1):
        made = learner("coda", settings=FEW, seed=seed)
        made.learn(FIRST)
        logits.append(made.logits(FIRST.train))
    assert torch.equal(logits[0], logits[1])
    assert not torch.allclose(logits[0], logits[2], atol=1e-3)


def test_all_tasks_at_once():
    joint = joint_data([FIRST, SECOND])
    assert joint.task.labels == ("pos", "neg", "upper", "digit")
    assert len(joint.train) == 32
    made = learner("ft")
    made.learn(joint)
    assert accuracy(made, joint) >= 0.9
    with pytest.raises(CuetuneError, match="read their rows differently"):
        joint_data([FIRST, TaskData(Task(template="{text}!", labels=("a",)), FIRST.train)])
    with pytest.raises(CuetuneError, match="no tasks"):
        joint_data([])


def test_bad_input(pictures):
    made = learner("coda", settings=FEW)
    with pytest.raises(CuetuneError, match="nothing was learned yet"):
        made.logits(FIRST.train)
    with pytest.raises(CuetuneError, match="task 'pos-neg': no rows to learn from"):
        made.learn(TaskData(FIRST.task, []))
    with pytest.raises(CuetuneError, match="no labels"):
        made.learn(TaskData(Task(template="{text}", name="free"), FIRST.train))
    with pytest.raises(CuetuneError, match="unknown method 'codas'; choose one of coda, dual"):
        new_learner("codas", backbone("llama"))
    with pytest.raises(CuetuneError, match="has no option 'size'"):
        new_learner("coda", backbone("llama"), Settings(prompt_options={"size": 3}))
    with pytest.raises(CuetuneError, match="layers '4-2'"):
        layers_of("4-2")
    assert list(layers_of("3")) == [3]
    made.learn(FIRST)
    for other, what in ((learner("dual"), "learner"), (learner("coda", seed=1), "seed")):
        with pytest.raises(CuetuneError, match=f"the state is of {what}"):
            other.restore(*made.state())
    wrong = learner("coda", image_backbone("vit"))
    assert made.logits([]).shape == (0, 2)
    with pytest.raises(CuetuneError, match="heads"):
        wrong.restore(*made.state())


def test_every_tuned_method_is_known():
    assert {name for name, each in Learner.learners.items() if issubclass(each, TunedLearner)} == set(TUNED)
    assert {name for name, each in Learner.learners.items() if issubclass(each, PoolLearner)} == set(POOLS)
    assert all(each.described for each in Learner.learners.values() if issubclass(each, TunedLearner))
