"""What a run costs: one counted number, against every operation that PyTorch sees while it runs."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import cuetune as package
from cuetune.data.row import Example
from cuetune.data.task import Task
from cuetune.prompts.initial import initial_embeddings
from cuetune.prompts.registry import build
from cuetune.prompts.start_text import TextStart
from cuetune.tuning.loop import Tuner
from cuetune.tuning.runs import TaskData
from cuetune.tuning.settings import Settings
from tiny import backbone, rows

TASK = Task(labels=("neg", "pos"), instruction="Classify the text.")


def examples(count):
    """Rows of one length: then the first step and the first rows stand for all."""
    texts = [f"text {number:03}" for number in range(count)]
    return [Example(f"row {n}", {"text": text}, TASK.labels[n % 2]) for n, text in enumerate(texts)]


def tuner(method="soft", validation=8, **changes):
    frozen = backbone()
    embeddings = initial_embeddings(frozen, TASK, init="text", length=3, text=None, seed=0)
    prompt = build(method, TextStart(frozen, embeddings, "text", 0), {})
    settings = Settings(**{"steps": 4, "batch_size": 4, "evaluate_every": 2, **changes})
    train = examples(20)
    return Tuner(frozen, prompt, TaskData(TASK, train, examples(validation)), settings.resolved(frozen, 20, prompt))


@pytest.mark.parametrize("method", ["soft", "prefix", "late"])
@pytest.mark.parametrize("readout", ["words", "head"])
@pytest.mark.parametrize("validation", [0, 8])
def test_the_number_is_that_of_everything_that_was_done(method, readout, validation):
    made = tuner(method, validation, readout=readout)
    with FlopCounterMode(display=False) as everything:
        outcome = made.run()
    whole = made.flops() + made.validation_flops()
    assert whole == pytest.approx(everything.get_total_flops(), rel=0.05)
    assert (made.validation_flops() > 0) == (validation > 0)
    assert outcome.progress.validations == (2 + (readout == "head" and validation > 0))


def test_a_head_that_begins_as_a_probe_costs_its_pass_over_the_rows():
    probe, random = tuner(validation=0, readout="head"), tuner(validation=0, readout="head", head_init="random")
    probe.run()
    random.run()
    with FlopCounterMode(display=False) as once, torch.no_grad():
        probe.runs[0].states_of(probe.prompt, range(20))
    assert probe.flops() - random.flops() == pytest.approx(once.get_total_flops(), rel=0.01)


def test_counting_changes_no_number():
    counted, plain = tuner(), tuner()
    outcome = counted.run_counted()
    plain.run()
    assert outcome.flops == plain.flops()
    for name, value in counted.trained.state_dict().items():
        assert torch.equal(value, plain.trained.state_dict()[name])


@pytest.mark.parametrize("method", ["soft", "late"])
def test_a_run_that_is_called_again_when_it_is_done_costs_the_same(tmp_path, method):
    first, again = tuner(method), tuner(method)
    first.folder = again.folder = tmp_path
    first.run()
    assert again.run_counted().flops == first.flops()


def test_what_is_saved_and_printed_is_the_counted_number(tmp_path):
    settings = Settings(steps=4, evaluate_every=2, batch_size=4, length=3, readout="head")
    tuned = package.tune(
        rows(60), tmp_path / "prompt", model=backbone(), settings=settings, reporters=[], log=lambda line: None
    )
    cost = package.load(tmp_path / "prompt").record["cost"]
    assert cost == tuned.record["cost"]
    assert cost["tflop"] > 0
    assert cost["validation_tflop"] > 0
    from cuetune.cli.tables import cost_line

    assert f"{cost['tflop']:.3g} TFLOP, and {cost['validation_tflop']:.3g} TFLOP to validate" in cost_line(cost)
