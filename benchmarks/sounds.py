"""Prompts for sounds against a linear probe and full fine-tuning, on Whisper's encoder.

    python benchmarks/sounds.py                          # all of it; a stopped run goes on where it was
    python benchmarks/sounds.py --only drums --seeds 1

drums: what was hit, tested on kits that were not learned from. languages: in which of five languages a phrase of a
telephone exchange is said, tested on other phrases; every language has one or two voices, so a voice may be what is
told apart. numbers: which of 28 is said, learned from one voice in each of five languages, tested on other voices in
three of them, on an encoder that knows these languages. Runs are those of `cuetune compare`: what is kept of each is in
runs/sounds/DATA, the tables in results/sounds.md.
"""

from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path

from comparing import measure, options, table
from cuetune.data.media.audio_files import SOUNDS
from cuetune.data.row import Row
from cuetune.data.splits import Splits
from cuetune.data.task import Task
from cuetune.tuning.data import Data

METHODS = ("linear-probe", "prefix", "shallow", "deep", "wave", "fine-tuning")
MODELS = {"drums": "whisper-tiny-en", "languages": "whisper-tiny-en", "numbers": "whisper-base"}
ROWS, STEPS = {"drums": 240, "languages": 500, "numbers": 112}, {"drums": 120, "languages": 120, "numbers": 120}
TESTED, CHOSEN_ON = 400, 100  # at most
RESULTS = Path(__file__).parent / "results" / "sounds.md"


def drums() -> Data:
    """Every fourth kit to test, of the other kits' hits every fifth to choose on."""
    rows = list(SOUNDS.read("drum-hits"))
    kits = sorted({row.values["kit"] for row in rows})
    known = [row for row in rows if row.values["kit"] not in kits[::4]]
    tested = [row for row in rows if row.values["kit"] in kits[::4]]
    return _data("drums", [row for n, row in enumerate(known) if n % 5], known[::5], tested)


def languages() -> Data:
    """Every third phrase to test, every sixth to choose on."""
    rows = list(SOUNDS.read("telephone-languages"))
    rest = [row for n, row in enumerate(rows) if n % 3]
    return _data("languages", [row for n, row in enumerate(rest) if n % 4], rest[::4], rows[::3])


def numbers() -> Data:
    """The second voices to test; of each number one of the first voices to choose on, in turn."""
    rows = list(SOUNDS.read("spoken-numbers"))
    second = ("Armelle", "July", "Menardi")
    first = sorted((row for row in rows if row.values["voice"] not in second), key=lambda row: row.values["label"])
    chosen_on = [n % 5 == n // 5 % 5 for n in range(len(first))]
    train, validation = ([row for row, on in zip(first, chosen_on, strict=True) if on == side] for side in (0, 1))
    return _data("numbers", train, validation, [row for row in rows if row.values["voice"] in second])


def _data(name: str, train: Sequence[Row], validation: Sequence[Row], test: Sequence[Row]) -> Data:
    labels = tuple(sorted({row.values["label"] for row in train}))
    task = Task(template="{audio}", labels=labels, name=name)
    parts = ([task.example(row) for row in part] for part in (train, _few(validation, CHOSEN_ON), _few(test, TESTED)))
    return Data(task, Splits(*parts), name)


def _few(rows: Sequence[Row], most: int) -> list[Row]:
    """At most so many, evenly out of all."""
    return [rows[number * len(rows) // most] for number in range(most)] if len(rows) > most else list(rows)


DATA: dict[str, Callable[[], Data]] = {"drums": drums, "languages": languages, "numbers": numbers}


def main() -> None:
    """Measure, and write all tables to one file."""
    asked = options(__doc__, list(DATA), METHODS, None, RESULTS)

    def one(name: str) -> str:
        asked_here = Namespace(**{**vars(asked), "model": asked.model or MODELS[name]})
        return table(name, DATA[name](), Path("runs/sounds"), ROWS[name], STEPS[name], asked_here)

    measure(list(DATA), one, asked)


if __name__ == "__main__":
    main()
