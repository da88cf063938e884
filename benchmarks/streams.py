"""Streams of tasks by every method: emoji class after class, Tux Paint and reviews domain after domain.

    python benchmarks/streams.py                      # everything: hours on two cores
    python benchmarks/streams.py --streams stamps --methods coda simple-cil ranpac --seeds 1

Streams x seeds x methods; a seed also draws the order of classes and the split. All tuned methods have the same steps
for each task, and nothing is chosen on held-out rows: the last step counts, in reviews the best one on a tenth of the
task's rows. A run that is stopped goes on within its task; what is finished is kept in results/streams.jsonl, and
tables and plots are drawn from there.
"""

import argparse
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cuetune.comparison.report import amount
from cuetune.methods.continual.learning import JOINT, learn
from cuetune.methods.continual.loading import Shared
from cuetune.methods.continual.plots import draw_matrices
from cuetune.methods.continual.registry import LEARNERS
from cuetune.metrics.continual import matrix, over_runs
from cuetune.tuning.settings import Settings
from side_by_side import RESULTS, described, machine

FILES = Path(__file__).parents[1] / "examples" / "streams"
STREAMS = {"emoji-10": "emoji.yaml", "emoji-5": "emoji.yaml", "stamps": "stamps.yaml", "reviews": "reviews.yaml"}
METHODS = ("simple-cil", "ranpac", "coda", "coda-sums", "l2p++", "dual", "ft++", "task-prompts", "l2p", "ft")
UPPER = "coda-joint"
SUMS = "-sums"  # behind a pool's name: ridge regression over prompted states answers, and not the trained head
FIRST = "-first"  # likewise, and only the first task tunes the prompts
RATES = {"ft": 1e-5, "ft++": 1e-5}  # by final accuracy on the first three tasks of emoji-10 in another order and split
POOL_RATE = 5e-3  # likewise, of 1e-3, 5e-3 and 1.5e-2 the best for each pool; the papers' 1e-3 takes their 4,000 steps


def settings_for(stream: str, method: str, arguments: argparse.Namespace) -> Settings | None:
    """The same steps for every method; CODA-Prompt has 100 components in all, as published."""
    name = learner_of(method)
    if name in ("simple-cil", "ranpac"):
        return None
    tasks = {"emoji-10": 10, "emoji-5": 5, "stamps": 3, "reviews": 4}[stream]
    once = method.endswith(JOINT)
    longer = 2 if stream == "emoji-5" else 1  # tasks of twice the rows
    steps = arguments.steps * longer * (tasks if once else 1)
    options: dict[str, Any] = {"components": 100 if once else 100 // tasks} if name == "coda" else {}
    if method.endswith((SUMS, FIRST)):
        options |= {"head": "ridge", "first_session": method.endswith(FIRST)}
    if stream == "reviews" and name not in ("ft", "ft++"):
        options["freeze_head"] = True  # two labels, which every domain has
    rate = RATES.get(name, POOL_RATE) if stream != "reviews" else None
    augment = arguments.augment if stream != "reviews" else "none"
    return Settings(
        steps=steps, batch_size=arguments.batch_size, learning_rate=rate, prompt_options=options, augment=augment
    )


def learner_of(method: str) -> str:
    """The learner's name in a method's name."""
    return method.removesuffix(JOINT).removesuffix(SUMS).removesuffix(FIRST)


def stream_file(name: str, folder: Path) -> Path:
    """The example's file; emoji in five tasks is the one in ten, dealt otherwise."""
    if name != "emoji-5":
        return FILES / STREAMS[name]
    path = folder / "emoji-5.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text((FILES / STREAMS[name]).read_text().replace("divide: 10", "divide: 5"))
    return path


def kept(path: Path) -> dict[tuple[str, str, int], dict[str, Any]]:
    """What an earlier run has finished."""
    if not path.exists():
        return {}
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return {(line["stream"], line["method"], line["seed"]): line for line in lines}


def measure(arguments: argparse.Namespace, path: Path) -> list[dict[str, Any]]:
    done = kept(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    for seed in range(arguments.seeds):
        for stream in arguments.streams:
            shared = Shared()
            for method in arguments.methods:
                if (stream, method, seed) not in done:
                    line = one(stream, method, seed, arguments, shared)
                    done[stream, method, seed] = line
                    with path.open("a") as file:
                        file.write(json.dumps(line) + "\n")
    return list(done.values())


def one(stream: str, method: str, seed: int, arguments: argparse.Namespace, shared: Shared) -> dict[str, Any]:
    """One run; its folder is removed when its line is kept. shared: with other methods on the same rows."""
    name = arguments.model_texts if stream == "reviews" else arguments.model_pictures
    folder = arguments.folder / stream / f"{method}-{seed}"
    settings = settings_for(stream, method, arguments)
    order = seed if stream.startswith("emoji") else None
    log = lambda line: print(f"{stream}, {method}, seed {seed}: {line.strip()}", flush=True)  # noqa: E731
    learned = learn(
        stream_file(stream, arguments.folder),
        folder,
        method=method.removesuffix(SUMS).removesuffix(FIRST),
        model=name,
        model_options={"device": arguments.device, "dtype": arguments.dtype},
        shared=shared,
        seed=seed,
        class_order=order,
        settings=settings,
        log=log,
        reporters=(),
    )
    shutil.rmtree(folder)
    rows = [task.rows for task in learned.tasks]
    return {
        "stream": stream,
        "method": method,
        "seed": seed,
        "model": learned.backbone.name,
        "settings": dict(learned.settings),
        "tasks": learned.names,
        "rows": rows,
        "held_out": [task.held_out for task in learned.tasks],
        "accuracies": learned.accuracies,
        **learned.cost,
    }


def summary(lines: Sequence[dict[str, Any]], head: str) -> str:
    """A table for each stream, the best A_N first; scores in points with 95 % intervals over the seeds."""
    parts = [head]
    for stream in dict.fromkeys(line["stream"] for line in lines):
        here = [line for line in lines if line["stream"] == stream]
        rows = [row(method, here) for method in dict.fromkeys(line["method"] for line in here)]
        example = here[0]
        learned, held_out = sum(example["rows"]), sum(example["held_out"])
        parts.append(
            f"### {stream}: {len(example['tasks'])} tasks on {example['model']}, {learned:,} rows to learn, "
            f"{held_out:,} held out, {max(line['seed'] for line in here) + 1} seeds"
        )
        columns = (
            "| method | seeds | A_N | mean A_t | forgetting, best - final | forgetting, one step | s | trained | kept |"
        )
        parts.append(
            "\n".join([columns, "| --- |" + " ---: |" * 8, *(cells for _, cells in sorted(rows, reverse=True))])
        )
    return "\n\n".join(parts) + "\n"


def row(method: str, lines: Sequence[dict[str, Any]]) -> tuple[float, str]:
    """A_N, and the method's line of the table."""
    mine = [line for line in lines if line["method"] == method]
    found = over_runs([matrix(line["accuracies"]) for line in mine])
    scores = [
        points(found[name]) for name in ("final_accuracy", "incremental_accuracy", "largest_drop", "one_step_drop")
    ]
    seconds = sum(line["seconds"] for line in mine) / len(mine)
    cost = [f"{seconds:.0f}", f"{mine[0]['trained']:,.0f}", amount(mine[0]["stored_bytes"])]
    return found["final_accuracy"]["value"], "| " + " | ".join([method, str(len(mine)), *scores, *cost]) + " |"


def points(value: dict[str, Any]) -> str:
    if value["value"] != value["value"]:
        return ""
    spread = "" if value["low"] is None else f" ({100 * value['low']:.1f}–{100 * value['high']:.1f})"
    return f"{100 * value['value']:.1f}{spread}"


def draw(lines: Sequence[dict[str, Any]], folder: Path) -> None:
    """The mean accuracy matrices, the best A_N first; with shuffled classes tasks have no names of their own."""
    for stream in dict.fromkeys(line["stream"] for line in lines):
        here = [line for line in lines if line["stream"] == stream and not line["method"].endswith(JOINT)]
        runs = {
            m: [matrix(e["accuracies"]) for e in here if e["method"] == m]
            for m in sorted({e["method"] for e in here}, key=lambda m: -row(m, here)[0])
        }
        if runs:
            names = (
                here[0]["tasks"]
                if not stream.startswith("emoji")
                else [str(n + 1) for n in range(len(here[0]["tasks"]))]
            )
            draw_matrices(folder / f"streams-{stream}.png", runs, names)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", nargs="+", choices=list(STREAMS), default=list(STREAMS))
    parser.add_argument("--methods", nargs="+", default=[*METHODS, UPPER])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=60, help="updates for each task; twice as many for emoji-5")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--augment", default="none", help="of pictures, as of `cuetune learn`; with its own --to")
    parser.add_argument("--model-pictures", default="dinov2-small@70")
    parser.add_argument("--model-texts", default="smollm2-135m")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--folder", type=Path, default=Path("runs/streams"), help="of runs that are not finished")
    parser.add_argument("--to", type=Path, default=RESULTS / "streams.jsonl")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.methods if learner_of(name) not in LEARNERS]
    if unknown:
        parser.error(f"unknown methods {', '.join(unknown)}; known: {', '.join(sorted(LEARNERS))}")
    lines = measure(arguments, arguments.to)
    about = described({"machine": machine(arguments.device)})
    head = f"Accuracy in points on held-out rows, means over seeds with 95 % intervals; {about}"
    text = summary(lines, head)
    arguments.to.with_suffix(".md").write_text(text)
    draw(lines, arguments.to.parent)
    print(text)


if __name__ == "__main__":
    main()
