"""Images that streams are made of."""

import numpy as np
import pytest
from PIL import Image

from cuetune.data.media.image_files import PICTURES
from cuetune.data.task import Task
from cuetune.tuning.runs import TaskData


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Two tasks of noise: dark or light, red or blue."""
    folder, draw = tmp_path_factory.mktemp("noise"), np.random.default_rng(0)
    low = {"dark": (0, 0, 0), "light": (150, 150, 150), "red": (150, 0, 0), "blue": (0, 0, 150)}
    for label, lowest in low.items():
        (folder / label).mkdir()
        for number in range(8):
            noise = draw.integers(0, 100, (24, 24, 3)) + np.array(lowest)
            Image.fromarray(noise.astype(np.uint8)).save(folder / label / f"{number}.png")
    tasks = []
    for labels in (("dark", "light"), ("red", "blue")):
        task = Task(template="{image}", labels=labels, name="-".join(labels))
        tasks.append(
            TaskData(task, [task.example(row) for row in PICTURES.read(folder) if row.values["label"] in labels])
        )
    return tasks
