"""Images in the one training loop: every prompt learns, a stopped run goes on, and frozen states change nothing."""

import pytest
import torch

from cuetune.backbones.batches import ImageBatch
from cuetune.backbones.injection import Injection
from cuetune.data.media.image_files import PICTURES
from cuetune.data.task import Task
from cuetune.errors import CuetuneError
from cuetune.prediction.image import ImagePredictor
from cuetune.prompts import EnsemblePrompt
from cuetune.prompts.registry import build
from cuetune.prompts.start_image import IMAGE_METHODS, ImageStart
from cuetune.readouts import MediaHead
from cuetune.tuning.loop import Tuner
from cuetune.tuning.runs import ImageRun, TaskData
from cuetune.tuning.settings import Settings
from stopping import stop_after
from tiny_vision import dark_and_light, image_backbone

TASK = Task(template="{image}", labels=("dark", "light"), name="shades")
OPTIONS = {"frame": {"width": 3}, "patch": {"size": 8}}


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    """Noise that is dark or light, a folder for each."""
    return [TASK.example(row) for row in PICTURES.read(dark_and_light(tmp_path_factory.mktemp("shades"), 8))]


def tuner(examples, method="vpt", options=None, folder=None, **settings) -> Tuner:
    frozen = image_backbone()
    start = ImageStart.of(frozen, TASK, examples, 4)
    prompt = build(method, start, {**OPTIONS.get(method, {}), **(options or {})})
    chosen = Settings(
        **{
            "steps": 30,
            "batch_size": 8,
            "evaluate_every": 10,
            "checkpoint_every": 5,
            "head_init": "random",
            **settings,
        }
    )
    return Tuner(frozen, prompt, data(examples), chosen.resolved(frozen, 12, prompt), folder=folder)


def data(examples) -> TaskData:
    return TaskData(TASK, [*examples[:6], *examples[8:14]], [*examples[6:8], *examples[14:]])


@pytest.mark.parametrize("method", IMAGE_METHODS)
def test_every_prompt_learns_in_the_one_loop(examples, method):
    run = tuner(examples, method)
    before = {name: value.clone() for name, value in run.backbone.model.state_dict().items()}
    start = {name: value.detach().clone() for name, value in run.prompt.named_parameters()}
    outcome = run.run()
    assert outcome.progress.best_scores["accuracy"] == 1.0
    assert outcome.progress.tokens >= 30 * 8 * run.backbone.n_states
    assert any(not torch.equal(value, start[name]) for name, value in run.prompt.named_parameters())
    assert all(torch.equal(value, before[name]) for name, value in run.backbone.model.state_dict().items())
    head = MediaHead(run.backbone, TASK)
    head.load_state_dict({"weight": outcome.head.weight, "bias": outcome.head.bias})
    predictions = list(ImagePredictor(run.backbone, TASK, run.prompt, head).predict(examples))
    assert [answer.label for answer in predictions] == [example.label for example in examples]
    assert [answer.where for answer in predictions] == [example.where for example in examples]
    assert all(abs(sum(answer.probabilities) - 1) < 1e-5 for answer in predictions)


def test_states_below_a_late_prompt_are_kept_and_change_no_number(monkeypatch, examples):
    kept, plain = (tuner(examples, options={"layer": 1}) for _ in range(2))
    kept.run()
    monkeypatch.setattr(plain.backbone, "keeps_states", False)
    plain.run()
    assert kept.runs[0].states.layer == 1
    assert plain.runs[0].states is None
    assert torch.allclose(kept.prompt.states(), plain.prompt.states(), atol=1e-4)
    assert 0 < kept.runs[0].frozen_flops() < kept.flops()
    assert kept.flops() < plain.flops()


def test_a_stopped_run_goes_on_to_the_same_numbers(monkeypatch, examples, tmp_path):
    whole = tuner(examples, folder=tmp_path / "whole")
    whole.run()
    stopped = tuner(examples, folder=tmp_path / "stopped")
    stop_after(17, stopped, monkeypatch)
    assert stopped.run().progress.stopped == "interrupted"
    again = tuner(examples, folder=tmp_path / "stopped")
    assert again.run().progress.step == 30
    assert torch.equal(again.prompt.states(), whole.prompt.states())


@torch.no_grad()
def test_an_ensemble_combines_its_members(examples):
    frozen = image_backbone()
    start = [ImageStart(frozen, 2, seed, torch.empty(0)) for seed in (0, 1)]
    members = [build("vpt-shallow", each, {"begin": "random"}) for each in start]
    head = MediaHead(frozen, TASK, seed=3)
    both = ImagePredictor(frozen, TASK, EnsemblePrompt(members), head).predict(examples)
    each = [list(ImagePredictor(frozen, TASK, member, head).predict(examples)) for member in members]
    for number, answer in enumerate(both):
        wanted = EnsemblePrompt(members).combine(torch.tensor([[own[number].probabilities] for own in each]))
        assert torch.allclose(torch.tensor(answer.probabilities), wanted[0], atol=1e-6)


def test_a_head_reads_the_layer_it_is_told(examples):
    frozen = image_backbone()
    head = MediaHead(frozen, TASK, pooling="mean", layer=1)
    pictures = head.rows(ImageBatch(torch.zeros(2, 3, 24, 24, dtype=torch.uint8), frozen.n_states))
    assert (pictures.layer, pictures.pooling, len(pictures.ids)) == (1, "mean", 2 * frozen.n_states)
    (hidden,) = frozen.hidden_mixed([(pictures, Injection())])
    wanted = frozen.features(frozen.normalised(pictures.pixels), layer=1, pooling="mean")
    assert torch.allclose(hidden, wanted)
    assert isinstance(pictures.to(torch.device("cpu")), ImageBatch)
    with pytest.raises(CuetuneError, match="layer 3: tiny-vit has layers 0 to 2"):
        MediaHead(frozen, TASK, layer=3)


def test_a_run_without_pictures_is_refused(examples):
    prompt = build("vpt", ImageStart(image_backbone(), 2, 0, torch.empty(0)), {"begin": "random"})
    with pytest.raises(CuetuneError, match="shades: no rows to tune on"):
        ImageRun(image_backbone(), prompt, TaskData(TASK, []), Settings(), 4)
