"""Images changed at random: mirrored exactly, cut within their borders, the same again for the same place."""

import pytest
import torch

from cuetune.data.media.image_files import PICTURES
from cuetune.data.task import Task
from cuetune.errors import CuetuneError
from cuetune.prompts.registry import build
from cuetune.prompts.start_image import ImageStart
from cuetune.tuning.loop import Tuner
from cuetune.tuning.runs import TaskData
from cuetune.tuning.runs.augmentation import AREA, SIDES, Augmentation
from cuetune.tuning.settings import Settings
from stopping import stop_after
from tiny_vision import dark_and_light, image_backbone

SIZE, SLOPE = 48, 5
TASK = Task(template="{image}", labels=("dark", "light"), name="shades")


def noise(*shape):
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def places(count):
    """(B, 3, H, W) images whose first two numbers say where a pixel is: from left to right, from top to bottom."""
    along = torch.arange(SIZE, dtype=torch.uint8) * SLOPE
    across, down = along.expand(SIZE, SIZE), along[:, None].expand(SIZE, SIZE)
    return torch.stack([across, down, torch.zeros_like(across)]).expand(count, -1, -1, -1)


def test_a_flip_is_the_picture_or_its_mirror_image_bit_by_bit():
    pictures = noise(40, 3, 20, 28)
    seen = Augmentation("flip", 0)(pictures, 0)
    mirrored = [torch.equal(each, picture.flip(-1)) for each, picture in zip(seen, pictures, strict=True)]
    same = [torch.equal(each, picture) for each, picture in zip(seen, pictures, strict=True)]
    assert all(a != b for a, b in zip(mirrored, same, strict=True))
    assert 10 < sum(mirrored) < 30


@pytest.mark.parametrize("kind", ["crop", "crop,flip"])
def test_a_cut_has_the_size_and_sides_that_are_said_and_lies_within_the_picture(kind):
    seen = Augmentation(kind, 0)(places(200), 7).float() / SLOPE
    left, right = seen[:, 0, 0, 3], seen[:, 0, 0, -4]  # away from the border, which is drawn out by half a pixel
    top, bottom = seen[:, 1, 3, 0], seen[:, 1, -4, 0]
    width, height = (right - left).abs() / (SIZE - 7), (bottom - top) / (SIZE - 7)
    area, sides = width * height, width / height
    assert AREA[0] - 0.03 < area.min() < 0.6
    assert 0.85 < area.max() < AREA[1] + 0.03
    assert SIDES[0] - 0.03 < sides.min() < 0.85
    assert 1.2 < sides.max() < SIDES[1] + 0.03
    assert ((right < left).sum() > 70) == (kind == "crop,flip")
    assert seen.min() >= 0
    assert seen.max() <= SIZE - 1
    assert (left - left[0]).abs().max() > 3  # not all from the same place


def test_a_cut_of_one_colour_keeps_it():
    white = torch.full((5, 3, 16, 16), 255, dtype=torch.uint8)
    assert torch.equal(Augmentation("crop", 3)(white, 1), white)


def test_frames_of_a_clip_are_changed_alike():
    frame = noise(6, 1, 3, 24, 24)
    seen = Augmentation("crop,flip", 0)(frame.expand(-1, 4, -1, -1, -1), 0)
    assert seen.shape == (6, 4, 3, 24, 24)
    assert torch.equal(seen, seen[:, :1].expand_as(seen))
    assert torch.equal(seen[:, 0], Augmentation("crop,flip", 0)(frame[:, 0], 0))


def test_seed_and_place_decide():
    pictures, changed = noise(8, 3, 16, 16), Augmentation("crop", 1)
    assert torch.equal(changed(pictures, 4, 0), Augmentation("crop", 1)(pictures, 4, 0))
    for other in (changed(pictures, 5, 0), changed(pictures, 4, 1), Augmentation("crop", 2)(pictures, 4, 0)):
        assert not torch.equal(changed(pictures, 4, 0), other)


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    return [TASK.example(row) for row in PICTURES.read(dark_and_light(tmp_path_factory.mktemp("shades"), 6))]


def tuner(examples, folder=None, options=None, **settings) -> Tuner:
    frozen = image_backbone()
    prompt = build("vpt", ImageStart.of(frozen, TASK, examples, 4), options or {})
    chosen = Settings(steps=12, batch_size=4, evaluate_every=4, checkpoint_every=2, **{"augment": "crop", **settings})
    data = TaskData(TASK, [*examples[:4], *examples[6:10]], [*examples[4:6], *examples[10:]])
    return Tuner(frozen, prompt, data, chosen.resolved(frozen, 8, prompt), folder=folder)


def test_each_step_sees_its_pictures_anew_and_validation_sees_them_as_they_are(monkeypatch, examples):
    run, seen = tuner(examples), []
    plain = tuner(examples, augment="none")
    assert run.runs[0].scores(run.prompt) == plain.runs[0].scores(plain.prompt)
    real = Augmentation.__call__

    def call(self, pixels, *place):
        seen.append((len(pixels), *place))
        return real(self, pixels, *place)

    monkeypatch.setattr(Augmentation, "__call__", call)
    run.run()
    assert seen == [(4, step, 0) for step in range(12)]
    plain.run()
    assert not torch.equal(run.prompt.states(), plain.prompt.states())


def test_a_stopped_run_goes_on_to_the_same_numbers(monkeypatch, examples, tmp_path):
    whole = tuner(examples)
    whole.run()
    stopped = tuner(examples, tmp_path)
    stop_after(7, stopped, monkeypatch)
    stopped.run()
    again = tuner(examples, tmp_path)
    assert again.run().progress.step == 12
    assert torch.equal(again.prompt.states(), whole.prompt.states())


def test_what_cannot_be_changed_is_refused(examples):
    with pytest.raises(CuetuneError, match="below a late prompt states are computed once"):
        tuner(examples, options={"layer": 2})
    with pytest.raises(CuetuneError, match="--augment sideways: not known; choose one of none, crop, flip"):
        Augmentation("sideways", 0)
