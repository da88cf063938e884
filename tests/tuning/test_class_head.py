"""The model's own classes as a head (ILM-VP): mapped before the first step and after every pass, never trained."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

import cuetune
from cuetune.data.row import Example
from cuetune.data.task import Task
from cuetune.errors import CuetuneError
from cuetune.prompts.registry import build
from cuetune.prompts.start_image import ImageStart
from cuetune.readouts import ClassHead, image_readout
from cuetune.readouts.class_mapping import ClassMapping
from cuetune.tuning.head_start import states_of_all
from cuetune.tuning.loop import Tuner
from cuetune.tuning.runs import TaskData
from cuetune.tuning.settings import Settings
from tiny_conv import conv_backbone
from tiny_conv import pixels as conv_pixels
from tiny_vision import image_backbone
from tiny_vision import pixels as vision_pixels

LABELS = ("dark", "light")
TASK = Task(template="{image}", labels=LABELS, name="shades")


def examples(count=16, side=32):
    draw, found = np.random.default_rng(0), []
    for number in range(count):
        low = 120 * (number % 2)
        noise = draw.integers(low, low + 120, (side, side, 3), dtype=np.uint8)
        found.append(Example(f"image {number}", {"image": Image.fromarray(noise)}, LABELS[number % 2]))
    return found


def tuner(frozen, folder=None, **changes):
    rows = examples()
    prompt = build("frame", ImageStart.of(frozen, TASK, rows, 1), {"width": 3})
    given = {"steps": 9, "batch_size": 4, "readout": "classes", "evaluate_every": 3, "checkpoint_every": 1, **changes}
    settings = Settings(**given).resolved(frozen, 12, prompt)
    return Tuner(frozen, prompt, TaskData(TASK, rows[:12], rows[12:]), settings, folder=folder)


@pytest.mark.parametrize(
    ("frozen", "pixels"),
    [
        (lambda: conv_backbone("resnet"), conv_pixels),
        (lambda: conv_backbone("efficientnet"), conv_pixels),
        (lambda: conv_backbone("convnextv2"), conv_pixels),
        (lambda: conv_backbone("mobilenet_v2"), conv_pixels),
        (lambda: image_backbone("classes"), vision_pixels),
    ],
    ids=["resnet", "efficientnet", "convnextv2", "mobilenet_v2", "vit"],
)
def test_the_classifier_is_that_of_the_stock_model(frozen, pixels):
    backbone, seen = frozen(), pixels()
    weight, bias = backbone.classifier()
    with torch.no_grad():
        found, wanted = F.linear(backbone.features(seen), weight, bias), backbone.class_logits(seen)
    assert len(bias) == len(backbone.classes)
    assert torch.allclose(found, wanted, atol=1e-4 * float(wanted.abs().max()))


def test_the_mapping_is_made_anew_after_every_pass_and_nothing_of_it_is_trained(monkeypatch):
    run = tuner(conv_backbone("resnet"))
    head, made = run.runs[0].head, []
    real = type(head).remap

    def remapped(self, states, labels):
        made.append(run.progress.step)
        real(self, states, labels)

    monkeypatch.setattr(type(head), "remap", remapped)
    before = {name: value.clone() for name, value in run.backbone.model.state_dict().items()}
    outcome = run.run()
    assert made == [0, 3, 6], "12 rows in steps of 4"
    assert (
        sum(value.numel() for group in run.optimizer.param_groups for value in group["params"]) == run.prompt.n_trained
    )
    assert all(torch.equal(value, before[name]) for name, value in run.backbone.model.state_dict().items())
    weight, bias = run.backbone.classifier()
    sources = [run.backbone.classes.index(name) for name in outcome.head.classes]
    assert torch.equal(outcome.head.weight, weight[sources].cpu())
    assert torch.equal(outcome.head.bias, bias[sources].cpu())
    assert (outcome.head.n_trained, outcome.head.n_kept) == (0, 2 * run.backbone.width + 2)


def test_labels_are_scored_as_the_model_scores_their_classes():
    run = tuner(conv_backbone("resnet"), steps=1)
    run.run()
    one, rows = run.runs[0], range(4)
    states = one.states_of(run.prompt, rows)
    logits = one.head.scores(run.backbone, states)
    pixels = run.backbone.normalised(one.pack(rows).pixels)
    with torch.no_grad():
        wanted = ClassMapping(one.head.sources).scores(run.backbone.class_logits(pixels, run.prompt.injection()))
    assert torch.allclose(logits, wanted, atol=1e-4 * float(wanted.abs().max()))


def test_a_label_takes_the_class_that_is_said_most_often():
    run = tuner(conv_backbone("resnet"), steps=1)
    head, (one,) = run.runs[0].head, run.runs
    states = states_of_all(one, run.prompt)
    said = F.linear(states, *run.backbone.classifier()).argmax(dim=1)
    numbers = torch.tensor([LABELS.index(row.label) for row in one.rows])
    head.remap(states, [row.label for row in one.rows])
    assert torch.equal(head.sources, ClassMapping.by_frequency(said, numbers, len(run.backbone.classes), 2).sources)


def test_a_stopped_run_goes_on_to_the_same_numbers(monkeypatch, tmp_path):
    frozen = conv_backbone("resnet")
    whole = tuner(frozen, tmp_path / "whole")
    wanted = whole.run()
    stopped = tuner(frozen, tmp_path / "stopped")
    real = stopped._step

    def step(chosen):
        if stopped.progress.step == 6:  # where the mapping was just made anew
            raise KeyboardInterrupt
        return real(chosen)

    monkeypatch.setattr(stopped, "_step", step)
    assert stopped.run().progress.stopped == "interrupted"
    again = tuner(frozen, tmp_path / "stopped")
    found = again.run()
    assert found.progress.step == 9
    assert found.head.classes == wanted.head.classes
    for name, value in whole.prompt.state_dict().items():
        assert torch.equal(again.prompt.state_dict()[name], value)


def test_it_is_saved_loaded_and_answers_the_same(tmp_path):
    frozen, rows = conv_backbone("resnet"), examples(24)
    table = [{"image": each.fields["image"], "label": each.label} for each in rows]
    settings = Settings(steps=4, batch_size=8, readout="classes", prompt_options={"width": 3})
    tuned = cuetune.tune(
        table, to=tmp_path / "out", model=frozen, prompt="frame", settings=settings, log=lambda _: None
    )
    again = cuetune.load(tmp_path / "out")
    assert set(again.head.classes) < set(frozen.classes)
    assert again.head.classes == tuned.head.classes
    assert again.n_trained == again.prompt.n_trained
    shown = [{"image": each.fields["image"]} for each in rows]
    one, other = (list(cuetune.predict(each, shown, model=frozen)) for each in (tuned, again))
    assert [each.probabilities for each in one] == [each.probabilities for each in other]
    assert again.head.classes[0] in (tmp_path / "out" / "README.md").read_text()


def test_what_has_no_classes_to_borrow_is_refused():
    with pytest.raises(CuetuneError, match="no classes of its own"):
        image_readout(image_backbone("vit"), TASK, "classes")
    many = Task(template="{image}", labels=tuple("abcd"), name="many")
    with pytest.raises(CuetuneError, match="4 labels, but the model has 3 classes"):
        ClassHead(conv_backbone("resnet"), many)
    with pytest.raises(CuetuneError, match="leave --pooling"):
        image_readout(conv_backbone("resnet"), TASK, "classes", pooling="mean")
    with pytest.raises(CuetuneError, match="of images a head reads answers"):
        image_readout(conv_backbone("resnet"), TASK, "words")


def test_classes_that_read_more_than_the_state_are_refused(monkeypatch):
    backbone = image_backbone("classes")
    real = backbone.class_logits
    monkeypatch.setattr(backbone, "class_logits", lambda pixels: real(pixels) + pixels.mean() + 5)
    with pytest.raises(CuetuneError, match="not read off the first state alone"):
        backbone.classifier()
