"""Heads begin as linear probes: scikit-learn's classifier folded, the first validation, and the operations."""

import numpy as np
import pytest
import torch
from PIL import Image

from cuetune.data.row import Example
from cuetune.data.splits import first_of_each_label
from cuetune.data.task import Task
from cuetune.prediction.probe import probe_on
from cuetune.prompts.registry import build
from cuetune.prompts.start_image import ImageStart
from cuetune.tuning.head_start import begin_as_probe, states_of_all
from cuetune.tuning.loop import Tuner
from cuetune.tuning.runs import TaskData
from cuetune.tuning.settings import Settings
from tiny_vision import image_backbone

LABELS = ("red", "green", "blue")
TASK = Task(template="{image}", labels=LABELS, name="colours")


def examples(count, labels=LABELS):
    draw, places = np.random.default_rng(0), {"red": 0, "green": 1, "blue": 2}
    found = []
    for number in range(count):
        label = labels[number % len(labels)]
        noise = draw.integers(0, 160, (24, 24, 3))
        noise[:, :, places[label]] += 90
        found.append(Example(f"image {number}", {"image": Image.fromarray(noise.astype(np.uint8))}, label))
    return found


def tuner(train, validation=(), **changes):
    frozen = image_backbone()
    prompt = build("vpt-shallow", ImageStart.of(frozen, TASK, train, 2), {})
    settings = Settings(**{"steps": 1, "batch_size": 4, "learning_rate": 1e-9, **changes}).resolved(
        frozen, len(train), prompt
    )
    return Tuner(frozen, prompt, TaskData(TASK, train, list(validation)), settings)


@pytest.mark.parametrize("known", [("red", "green"), LABELS], ids=["two labels", "three labels"])
def test_one_linear_map_says_what_the_scaled_classifier_says(known):
    generator = np.random.default_rng(0)
    rows = examples(30, known)
    features = generator.normal(3.0, 5.0, (30, 8)).astype(np.float32)
    features[:, 0] += [4.0 * known.index(row.label) for row in rows]
    probe = probe_on(TASK, {"states": features}, rows)
    weight, bias = probe.linear(LABELS)
    chances = (torch.from_numpy(features) @ weight.T + bias)[:, : len(known)].softmax(dim=-1)
    order = [list(probe.classifier.classes_).index(label) for label in known]
    assert np.allclose(chances.numpy(), probe.classifier.predict_proba(features)[:, order], atol=1e-5)
    assert weight.shape == (3, 8)
    if len(known) == 2:  # the label that no row had is never the best
        assert weight[2].eq(0).all()
        assert bias[2] == bias[:2].min()


def test_every_label_is_fitted_and_checked_on():
    rows = examples(7, ("red",)) + examples(2, ("green",)) + examples(1, ("blue",))
    fits = first_of_each_label(rows, 0.8)
    assert fits == [True] * 5 + [False] * 2 + [True, False] + [True]


def test_a_run_begins_as_the_probe_and_keeps_nothing_worse():
    run = tuner(examples(24), examples(9))
    states = states_of_all(run.runs[0], run.prompt)
    expected = probe_on(TASK, {"states": states.numpy()}, run.runs[0].rows)
    weight, bias = expected.linear(LABELS)
    outcome = run.run()
    assert torch.allclose(outcome.head.weight, weight, atol=1e-4)
    assert torch.allclose(outcome.head.bias, bias, atol=1e-4)
    own = states_of_all(tuner(examples(9)).runs[0], run.prompt).numpy()
    right = expected.classifier.score(own, [row.label for row in examples(9)])
    assert outcome.progress.best_scores["accuracy"] >= right - 1e-9


def test_a_run_that_only_gets_worse_keeps_the_probe():
    run = tuner(examples(24), examples(9), learning_rate=1.0, steps=8, evaluate_every=2)
    begun = probe_on(TASK, {"states": states_of_all(run.runs[0], run.prompt).numpy()}, run.runs[0].rows).linear(LABELS)
    scores = iter([0.9, 0.8, 0.7, 0.6, 0.5])
    run.runs[0].scores = lambda prompt: {"accuracy": next(scores)}
    outcome = run.run()
    assert outcome.progress.best_step == 0
    assert torch.allclose(outcome.head.weight, begun[0], atol=1e-6)


def test_the_pass_it_takes_is_counted():
    probe, random = (tuner(examples(24), head_init=start) for start in ("probe", "random"))
    probe.run()
    random.run()
    assert probe.flops() > random.flops()
    assert probe.flops() - random.flops() < 24 / 4 * random.flops()


def test_rows_of_one_label_leave_a_head_as_it_is():
    run = tuner(examples(5, ("green",))).runs[0]
    before = run.head.weight.detach().clone()
    begin_as_probe(run, build("vpt-shallow", ImageStart.of(image_backbone(), TASK, examples(5, ("green",)), 2), {}))
    assert torch.equal(run.head.weight, before)
