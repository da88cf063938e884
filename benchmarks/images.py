"""Prompts for pictures against a linear probe and full fine-tuning: accuracy, trained numbers, seconds, operations.

    python benchmarks/images.py                          # all of it; a stopped run goes on where it was
    python benchmarks/images.py --only stamps --seeds 1

emoji: which category a drawing is of, learned on three styles (Noto, Twemoji, Fluent), tested on other objects in these
styles. emoji-new-style: the same, tested on other objects in a fourth style (OpenMoji). kinds: of which of fifty kinds
a drawing is (fruit, birds, tools, …), likewise. stamps: which category a stamp of Tux Paint is of. stamps-new-style:
learned on photos, tested on drawings and cartoons. Rows to choose on are always of the styles that are learned, so that
nothing of a new style is seen. Runs are those of `cuetune compare`: what is kept of each is in runs/images/DATA, the
tables in results/images.md.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from comparing import measure, options, table
from cuetune.data.media.image_files import PICTURES
from cuetune.data.row import Example, Row
from cuetune.data.splits import Splits
from cuetune.data.task import Task
from cuetune.tuning.data import Data

METHODS = ("linear-probe", "prefix", "vpt-shallow", "vpt", "frame", "fine-tuning")
MODEL = "dinov2-small@70"
HEAD_LAYER = 11  # of 4 to 12 the best for a linear probe on the rows to choose on, in both data sets
# Training pictures and updates of a run.
SIZES = {
    "emoji": (2700, 480),
    "emoji-new-style": (2700, 240),
    "kinds": (1400, 480),
    "stamps": (240, 120),
    "stamps-new-style": (200, 120),
}
TESTED, CHOSEN_ON = 600, 200  # at most
NEW = "-new-style"
RESULTS = Path(__file__).parent / "results" / "images.md"


def emoji(new_style: bool) -> Data:
    """Categories of drawings."""
    return _objects("emoji-drawings", new_style)


def kinds(new_style: bool) -> Data:
    """Kinds of drawings."""
    return _objects("emoji-kinds", new_style)


def _objects(name: str, new_style: bool) -> Data:
    """Objects in three styles to learn, a few of them to choose on; every third object to test."""
    rows = list(PICTURES.read(name))
    objects = sorted({row.values["name"] for row in rows})
    held_out, chosen_on = set(objects[::3]), set(objects[1::12])
    learned = [row for row in rows if row.values["style"] != "openmoji"]
    train = [row for row in learned if row.values["name"] not in held_out | chosen_on]
    validation = [row for row in learned if row.values["name"] in chosen_on]
    asked = [row for row in rows if (row.values["style"] == "openmoji") == new_style]
    return _data(name, train, validation, [row for row in asked if row.values["name"] in held_out])


def stamps(new_style: bool) -> Data:
    """Categories with enough in photos and in other styles; every fourth to choose on, and every fourth to test."""
    rows = list(PICTURES.read("tux-paint-stamps"))
    parts = [[row for row in rows if (row.values["style"] == "photo") == photo] for photo in (True, False)]
    counts = {label: [sum(row.values["label"] == label for row in part) for part in parts] for label in _labels(rows)}
    photos, others = ([row for row in part if min(counts[row.values["label"]]) >= 15] for part in parts)
    if new_style:
        return _data("stamps", [row for n, row in enumerate(photos) if n % 4], photos[::4], others)
    both = [*photos, *others]
    return _data("stamps", [row for n, row in enumerate(both) if n % 4 > 1], both[::4], both[1::4])


def _labels(rows: Sequence[Row]) -> list[str]:
    return sorted({row.values["label"] for row in rows})


def _data(name: str, train: Sequence[Row], validation: Sequence[Row], test: Sequence[Row]) -> Data:
    task = Task(template="{image}", labels=tuple(_labels(train)), name=name)
    parts = [_spread([task.example(row) for row in part]) for part in (train, validation, test)]
    return Data(task, Splits(parts[0], parts[1][:CHOSEN_ON], parts[2][:TESTED]), name)


def _spread(examples: list[Example]) -> list[Example]:
    """The same in an order in which every stretch is like the whole, whatever order the files have."""
    step = next(step for step in (997, 991, 983, 977) if len(examples) % step)
    return [examples[number * step % len(examples)] for number in range(len(examples))]


DATA: dict[str, Callable[[bool], Data]] = {"emoji": emoji, "kinds": kinds, "stamps": stamps}
NAMES = tuple(SIZES)


def main() -> None:
    """Measure, and write all tables to one file."""
    asked = options(__doc__, NAMES, METHODS, MODEL, RESULTS)
    asked.head_layer = asked.head_layer or HEAD_LAYER

    def one(name: str) -> str:
        kind = name.removesuffix(NEW)
        return table(name, DATA[kind](name != kind), Path("runs/images"), *SIZES[name], asked)

    measure(NAMES, one, asked)


if __name__ == "__main__":
    main()
