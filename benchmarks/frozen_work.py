"""What is done once for a run, against the loop that does it in every step; and whether decoding keeps up.

    python benchmarks/frozen_work.py

Steps: the same rows and prompt, both loops in turn in one process. "Decoded once": pictures as bytes in memory, against
reading their files in every step. "Heard once": recordings as states before the first layer, against waves. "Late": a
prompt that enters at two thirds of the depth, with the states below kept, against the whole model in every step.
Rates: rows a second that are decoded, and that the model reads with a prompt of ten virtual tokens, on the same rows.
"""

import argparse
from collections.abc import Callable, Sequence
from typing import Any

import torch

from cuetune.backbones.registry import load_backbone
from cuetune.data.media.audio_batches import listen
from cuetune.data.media.audio_files import SOUNDS
from cuetune.data.media.image_batches import decode
from cuetune.data.media.image_files import PICTURES
from cuetune.data.media.video_files import VIDEOS
from cuetune.data.row import Example
from cuetune.data.splits import Splits
from cuetune.data.task import Task
from cuetune.methods.initial_prompt import first_prompt
from cuetune.tuning.data import Data
from cuetune.tuning.loop import Tuner
from cuetune.tuning.runs import AudioRun, TaskData
from cuetune.tuning.settings import Settings
from side_by_side import keep, machine, paired_ratios, timed

BATCH = 16
# (what is compared, data, model, prompt, at two thirds of the depth)
STEPS = (
    ("pictures, decoded once", "emoji-drawings", "dinov2-small@98", "vpt", False),
    ("pictures, late", "emoji-drawings", "dinov2-small@98", "vpt", True),
    ("clips, decoded once", "moving-drawings", "dinov2-small@4x98", "vpt", False),
    ("recordings, heard once", "drum-hits", "whisper-tiny-en", "deep", False),
    ("recordings, late", "drum-hits", "whisper-tiny-en", "deep", True),
)
READ = {"emoji-drawings": PICTURES, "moving-drawings": VIDEOS, "drum-hits": SOUNDS}


def examples_of(name: str, count: int) -> tuple[Task, list[Example]]:
    """So many rows of a packaged data set, evenly out of all."""
    rows = list(READ[name].read(name))
    task = READ[name].infer(rows, name=name)
    return task, [task.example(rows[number * len(rows) // count]) for number in range(count)]


def tuner(backbone: Any, task: Task, examples: list[Example], method: str, late: bool) -> Tuner:
    """A run that has done what it does once."""
    options = {"layer": round(backbone.layers * 2 / 3)} if late else {}
    settings = Settings(steps=1000, batch_size=BATCH, length=10, head_init="random", prompt_options=options)
    data = Data(task, Splits(examples, [], []), task.name)
    prompt = first_prompt(backbone, data, method, 0, settings)
    run = Tuner(backbone, prompt, TaskData(task, examples), settings.resolved(backbone, len(examples), prompt))
    run._prepare()
    return run


def naive(run: Tuner, examples: list[Example], late: bool) -> Callable[[], Any]:
    """A step of the loop that does everything anew."""
    (part,), numbers = run.runs, list(range(BATCH))

    def step() -> None:
        if late:
            kept, part.states = part.states, None
            run._step([(0, numbers)])
            part.states = kept
            return
        again = type(part)(part.backbone, run.prompt, TaskData(part.task, examples[:BATCH]), run.settings, 0)  # type: ignore[call-arg]
        if isinstance(part, AudioRun):
            again._raw = True  # waves, and no states of them
            again.audio = again._read(examples[:BATCH])
        run.runs[0], again.readout = again, part.readout
        run._step([(0, numbers)])
        run.runs[0] = part

    return step


def steps(case: Sequence[Any], rows: int, rounds: int, repeats: int, device: str) -> dict[str, Any]:
    """Seconds of a step in both loops, round by round in turn."""
    what, name, model, method, late = case
    task, examples = examples_of(name, rows)
    run = tuner(load_backbone(model, device=device), task, examples, method, late)
    calls = (naive(run, examples, late), lambda: run._step([(0, list(range(BATCH)))]))
    times = [[timed(call, repeats, device) for call in calls] for _ in range(rounds)]
    ratio = paired_ratios([each[0] for each in times], [each[1] for each in times])
    middle = [sorted(s for each in times for s in each[side])[rounds * repeats // 2] for side in (0, 1)]
    return {"what": what, "model": model, "naive": middle[0], "once": middle[1], "ratio": ratio}


def rates(name: str, model: str, method: str, rows: int, device: str) -> dict[str, Any]:
    """Rows a second: decoded, and read by the model."""
    task, examples = examples_of(name, rows)
    backbone: Any = load_backbone(model, device=device)
    run = tuner(backbone, task, examples, method, False)

    def decoded() -> None:
        if backbone.kind == "audio":
            list(listen(examples, task, backbone.hearing))
        else:
            list(decode(examples, task, backbone.preprocessing))

    @torch.no_grad()
    def read() -> None:
        for first in range(0, rows, BATCH):
            run.runs[0].states_of(run.prompt, range(first, first + BATCH))

    seconds = [min(timed(call, 3, device)) for call in (decoded, read)]
    return {"data": name, "model": model, "decoded": rows / seconds[0], "read": rows / seconds[1]}


def table(result: dict[str, Any]) -> list[str]:
    found = result["machine"]
    lines = [f"{found['device']}, {found['threads']} threads, torch {found['torch']}; batches of {BATCH}.", ""]
    lines += ["| done once | model | s/step | in every step | times faster |", "| --- |" + " --- |" * 4]
    for each in result["steps"]:
        ratio = "**{median:.2f}** ({low:.2f}–{high:.2f})".format(**each["ratio"])
        lines.append(f"| {each['what']} | {each['model']} | {each['once']:.3f} | {each['naive']:.3f} | {ratio} |")
    lines += [
        "",
        "| data | model | decoded a second | read a second by the model | decoding keeps up |",
        "| --- |" + " --- |" * 4,
    ]
    for each in result["rates"]:
        times = each["decoded"] / each["read"]
        lines.append(
            f"| {each['data']} | {each['model']} | {each['decoded']:,.0f} | {each['read']:,.1f} | {times:.1f} times |"
        )
    return lines


def main() -> None:
    """Measure, print, and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--quick", action="store_true", help="a few repeats, and nothing is kept")
    asked = parser.parse_args()
    rounds, repeats = (1, 1) if asked.quick else (asked.rounds, asked.repeats)
    cases = {(name, model): method for _, name, model, method, _ in STEPS}
    result = {
        "machine": machine(asked.device),
        "steps": [steps(case, asked.rows, rounds, repeats, asked.device) for case in STEPS],
        "rates": [rates(name, model, method, asked.rows, asked.device) for (name, model), method in cases.items()],
    }
    print("\n".join(table(result)))
    if not asked.quick:
        keep("frozen-work", asked.device, result, table(result))


if __name__ == "__main__":
    main()
