"""A prompt that enters late, beside the same prompt at the input: seconds of a step, and accuracy on held-out rows.

    python benchmarks/late.py                        # SmolLM2-135M, movie reviews, 3 seeds, this CPU
    python benchmarks/late.py --data ROWS.csv --layers 15 20 25
    python benchmarks/late.py --quick --model FOLDER --data ROWS.csv

Both are tuned by the same loop on the same rows with their usual learning rate. Their steps are timed in turn in one
process, the median of each; the states below a late prompt, computed once per example, are timed apart.
"""

import argparse
import json
import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import cuetune
from cuetune.backbones.loading import DEFAULT
from cuetune.backbones.registry import load_backbone
from cuetune.evaluation.evaluate import evaluate_sources
from cuetune.prompts.initial import initial_embeddings
from cuetune.prompts.start_text import TEXT_METHODS, TextStart
from cuetune.tuning.data import Data, prepare
from cuetune.tuning.loop import Tuner
from cuetune.tuning.runs import TaskData
from cuetune_catalog.datasets.registry import pull_data
from side_by_side import RESULTS, keep, machine, timed


def tuner(backbone: Any, data: Data, kind: str, layer: int | None, settings: Any) -> Tuner:
    """The loop as `cuetune tune` sets it up. layer: where a late prompt enters."""
    embeddings = initial_embeddings(backbone, data.task, length=settings.length, seed=settings.seed)
    options = {} if layer is None else {"layer": layer}
    prompt = TEXT_METHODS[kind].build(TextStart(backbone, embeddings, settings.init, settings.seed), **options)
    resolved = settings.resolved(backbone, len(data.splits.train), prompt)
    return Tuner(backbone, prompt, TaskData(data.task, data.splits.train, data.splits.validation), resolved)


def step_times(tuners: dict[str, Tuner], repeats: int, device: str) -> dict[str, list[float]]:
    """Seconds of single steps, the sides in turn; each on the rows of its own order, the same for all."""
    taken: dict[str, list[float]] = {name: [] for name in tuners}
    for each in tuners.values():
        each._prepare()
    for number in range(repeats):
        for name, each in tuners.items():
            rows = each.batches.of(number)
            taken[name] += timed(lambda each=each, rows=rows: each._step(rows), 1, device)
    return taken


def accuracy(backbone: Any, data: Data, run: Tuner) -> dict[str, float]:
    """Tune to the end, then score the held-out rows."""
    started = time.perf_counter()
    done = run.run()
    source = cuetune.Predictor(backbone, data.task, run.prompt.fold())
    result = evaluate_sources(data.task, {"prompt": source}, data.splits.test).results["prompt"]
    seconds = time.perf_counter() - started
    return {"accuracy": result.scores["accuracy"].value, "steps": done.progress.step, "seconds": seconds}


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    backbone = load_backbone(arguments.model, device=arguments.device, dtype=arguments.dtype)
    depth = backbone.kv_shape[0]
    layers = arguments.layers or [round(depth * 2 / 3)]
    sides: dict[str, tuple[str, int | None]] = {"input": ("soft", None)}
    sides |= {f"layer {layer}": ("late", layer) for layer in layers}
    settings = cuetune.Settings(steps=arguments.steps, evaluate_every=max(1, arguments.steps // 5))
    path = arguments.data or pull_data("reviews-movies", "data")
    data = prepare(str(path), None, None, None, settings, template=arguments.template)
    data = replace(data, splits=replace(data.splits, test=data.splits.test[: arguments.test]))
    timing = {name: tuner(backbone, data, *side, settings) for name, side in sides.items()}
    found: dict[str, Any] = {"steps": step_times(timing, arguments.repeats, arguments.device), "runs": {}}
    found["states_seconds"] = {name: each.progress.seconds for name, each in timing.items()}
    del timing
    if arguments.time_only:
        found["runs"] = json.loads((RESULTS / f"late-{arguments.device}.json").read_text())["runs"]
    for seed in range(0 if arguments.time_only else arguments.seeds):
        for name, side in sides.items():
            run = tuner(backbone, data, *side, settings.model_copy(update={"seed": seed}))
            found["runs"].setdefault(name, []).append(accuracy(backbone, data, run))
            print(f"seed {seed}, {name}: {found['runs'][name][-1]}", flush=True)
    rows = {name: len(getattr(data.splits, name)) for name in ("train", "validation", "test")}
    return {"machine": machine(arguments.device), "model": arguments.model, "depth": depth, "rows": rows, **found}


def table(result: dict[str, Any]) -> list[str]:
    rows, base = result["rows"], result["steps"]["input"]
    lines = [
        f"{result['model']} ({result['depth']} layers), {rows['train']:,} rows to tune on, {rows['test']:,} held out; "
        f"{result['machine']['device']}, {result['machine']['threads']} threads.",
        "",
        "| prompt enters at | s/step | cheaper | once, s | accuracy, mean of seeds | each | against the input |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    mean = {name: statistics.mean(run["accuracy"] for run in runs) for name, runs in result["runs"].items()}
    for name, runs in result["runs"].items():
        seconds = statistics.median(result["steps"][name])
        each = ", ".join(f"{run['accuracy']:.3f}" for run in runs)
        cells = (
            f"{seconds:.3f}",
            f"**{statistics.median(base) / seconds:.1f}**",
            f"{result['states_seconds'][name]:.1f}",
            f"{mean[name]:.3f}",
            each,
            f"{100 * (mean[name] - mean['input']):+.1f} points",
        )
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=DEFAULT)
    parser.add_argument("--data", type=Path, help="labelled rows; else the movie reviews")
    parser.add_argument("--template", default="Review: {text}\nSentiment:")
    parser.add_argument("--layers", type=int, nargs="+", help="where late prompts enter; else two thirds of the depth")
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--test", type=int, default=1000, help="held-out rows to score")
    parser.add_argument("--repeats", type=int, default=12)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--time-only", action="store_true", help="time steps anew, keep the last run's accuracies")
    parser.add_argument("--quick", action="store_true", help="a smoke test: nothing is kept")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.steps, arguments.seeds, arguments.repeats = 4, 1, 2
    result = measure(arguments)
    lines = table(result)
    print("\n".join(lines))
    if not arguments.quick:
        keep("late", arguments.device, result, lines)


if __name__ == "__main__":
    main()
