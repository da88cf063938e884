"""Convolutional networks in streams: what learns from features alone works, pools of prompts are one line."""

import pytest

from cuetune.data.media.image_files import PICTURES
from cuetune.data.task import Task
from cuetune.errors import CuetuneError
from cuetune.methods.continual.registry import new_learner
from cuetune.tuning.runs import TaskData
from cuetune.tuning.settings import Settings
from tiny_conv import conv_backbone
from tiny_vision import dark_and_light

TASK = Task(template="{image}", labels=("dark", "light"), name="shades")


@pytest.fixture(scope="module")
def shades(tmp_path_factory):
    """Noise that is dark or light."""
    return [TASK.example(row) for row in PICTURES.read(dark_and_light(tmp_path_factory.mktemp("shades"), 6))]


@pytest.mark.parametrize("method", ["simple-cil", "ranpac", "ft"])
def test_features_are_learned_from(shades, method):
    learner = new_learner(method, conv_backbone(), Settings(steps=2, batch_size=4))
    learner.learn(TaskData(TASK, shades, []))
    said = learner.logits(shades).argmax(-1).tolist()
    wanted = [learner.labels.index(example.label) for example in shades]
    assert len(said) == 12
    assert method == "ft" or said == wanted


@pytest.mark.parametrize("method", ["coda", "l2p", "l2p++", "dual", "task-prompts"])
def test_pools_of_prompts_are_refused_in_one_line(method):
    with pytest.raises(CuetuneError, match="tiny-resnet has no layers for a pool of prompts; choose another method"):
        new_learner(method, conv_backbone(), Settings())
