"""How long small things take when there are many: a library's prompts, and a folder's files.

`python benchmarks/small_things.py --prompts 10000 --files 100000 --to benchmarks/results/small_things.json`

Each is timed at a tenth of the number, too: what is linear takes a tenth of the time or more.
"""

import argparse
import contextlib
import io
import json
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from cuetune.api.check import check
from cuetune.backbones.identity import BackboneIdentity
from cuetune.cli.library import list_prompts, search
from cuetune.data.readers.registry import reader_for
from cuetune.data.task import Task
from cuetune.library.collection import PromptLibrary, _entry_of, _files
from cuetune.library.tuned import TunedPrompt
from cuetune.prompts import SoftPrompt

IDENTITY = BackboneIdentity("tiny", None, "ab" * 32, "cd" * 32, "llama", 6, 2, 2)
CLASSES = 10


def main() -> None:
    """Time everything, print it, and write it where that was asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=int, default=10_000, help="Prompts in the library. Default: 10,000.")
    parser.add_argument("--files", type=int, default=100_000, help="Files in the folder. Default: 100,000.")
    parser.add_argument("--to", type=Path, default=None, help="JSON file for the result. Default: none.")
    asked = parser.parse_args()
    found = {"machine": platform.processor() or platform.machine(), "library": [], "folder": []}
    for count in (asked.prompts // 10, asked.prompts):
        found["library"].append(of_library(count))
        print(found["library"][-1], flush=True)
    for count in (asked.files // 10, asked.files):
        found["folder"].append(of_folder(count))
        print(found["folder"][-1], flush=True)
    if asked.to is not None:
        asked.to.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def of_library(count: int) -> dict[str, float]:
    """Seconds to list and search a library of so many prompts, without and with its index."""
    with tempfile.TemporaryDirectory() as folder:
        for number in range(count):
            _put(Path(folder), number)
        shelf = PromptLibrary(folder)
        return {
            "prompts": count,
            "first survey": seconds(shelf.survey),
            "survey": seconds(shelf.survey),
            "search": seconds(lambda: shelf.search("reviews", min_score=0.5)),
            "one entry": seconds(lambda: shelf.entry(f"prompt-{count // 2}")),
            "command list": seconds(lambda: list_prompts(folder)),
            "command search": seconds(lambda: search(folder, ["17"])),
        }


def _put(folder: Path, number: int) -> None:
    """A version as `PromptLibrary.add` writes it, without waiting for the disk."""
    scores = {"tuned": {"accuracy": {"value": number % 100 / 100, "low": 0.0, "high": 1.0}}}
    task = Task(template="Review: {text}\nSentiment:", labels=("neg", "pos"), name=f"reviews {number}")
    prompt = SoftPrompt(torch.full((5, 6), float(number)))
    files = _files(TunedPrompt(prompt, task, IDENTITY, {"scores": scores, "scored_rows": 9}), f"prompt-{number}")
    place = folder / _entry_of(f"prompt-{number}", files).path
    place.mkdir(parents=True)
    for name, content in files.items():
        (place / name).write_bytes(content)


def of_folder(count: int) -> dict[str, float]:
    """Seconds to read and check the names of a folder with so many images, a folder for each class."""
    from PIL import Image

    with tempfile.TemporaryDirectory() as folder:
        whole = io.BytesIO()
        Image.new("RGB", (8, 8), "red").save(whole, "PNG")
        for label in range(CLASSES):
            (Path(folder) / f"class-{label}").mkdir()
        for number in range(count):
            (Path(folder) / f"class-{number % CLASSES}" / f"{number}.png").write_bytes(whole.getvalue())
        reader = reader_for(folder, {})
        return {
            "files": count,
            "modality": seconds(lambda: reader_for(folder, {})),
            "rows": seconds(lambda: sum(1 for _ in reader.read(folder))),
            "check": seconds(lambda: check(folder)),
        }


def seconds(work: Callable[[], object]) -> float:
    """How long it takes; what it prints is not shown."""
    began = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        work()
    return round(time.perf_counter() - began, 3)


if __name__ == "__main__":
    main()
