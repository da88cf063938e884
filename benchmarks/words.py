"""Prompts in words on several tasks: what calibration, nearest demonstrations and the searches add to the plain ones.

    python benchmarks/words.py                              # SmolLM2-135M, three bundled tasks, this CPU
    python benchmarks/words.py --tasks tweets --methods calibrated nearest
    python benchmarks/words.py --quick --model FOLDER --data ROWS.csv

Per task one split: rows to show and to search with, rows to choose by, and held-out rows that score everything and
choose nothing. Every result is kept as it is made, so a run that was stopped goes on.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cuetune.backbones.loading import DEFAULT
from cuetune.backbones.registry import load_backbone
from cuetune.data.splits import Splits
from cuetune.evaluation.evaluate import evaluate_sources
from cuetune.methods.calibration import calibrate
from cuetune.methods.searching import search
from cuetune.prediction.text import Predictor
from cuetune.prompts.nearest import nearest_prompt
from cuetune.prompts.words import choose, hard_prompt
from cuetune.tuning.data import Data, prepare
from cuetune.tuning.settings import Settings
from side_by_side import RESULTS, machine

TASKS = {
    "amazon": {"data": "reviews-amazon", "template": "Review: {text}\nSentiment:"},
    "tweets": {"data": "reviews-tweets", "template": "Tweet: {text}\nSentiment:"},
    "questions": {"data": "customer-questions", "template": "Question: {text}\nTopic:"},
}
SHOTS = 8
SEARCHES: dict[str, dict[str, Any]] = {
    "greedy": {"steps": 12, "candidates": 24},
    "pez": {"steps": 100},
    "ape": {},
}
QUICK: dict[str, dict[str, Any]] = {"greedy": {"steps": 1, "candidates": 2}, "pez": {"steps": 2}}
# What each method is held against: the same words without what it adds.
PLAIN = {"calibrated zero-shot": "zero-shot", "calibrated few-shot": "few-shot", "nearest": "few-shot"}
PLAIN |= dict.fromkeys(SEARCHES, "zero-shot")


def made(backbone: Any, data: Data) -> dict[str, Callable[[], Any]]:
    """The prompts that are built and not searched for."""
    task, rows = data.task, data.splits.train

    def few() -> Any:
        return hard_prompt(backbone, task, choose(rows, min(SHOTS, len(rows))))

    return {
        "zero-shot": lambda: hard_prompt(backbone, task),
        "calibrated zero-shot": lambda: calibrate(backbone, task, hard_prompt(backbone, task)),
        "few-shot": few,
        "calibrated few-shot": lambda: calibrate(backbone, task, few()),
        "nearest": lambda: nearest_prompt(backbone, task, rows, min(SHOTS, len(rows))),
    }


def found(backbone: Any, data: Data, method: str, options: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Scores of the words that a search finds, on the same held-out rows."""
    parts = {name: [as_row(data, example) for example in getattr(data.splits, name)] for name in Splits.__annotations__}
    tuned = search(
        parts["train"],
        folder / method,
        method=method,
        method_options=options,
        validation=parts["validation"],
        test=parts["test"],
        model=backbone,
        task=data.task,
        overwrite=True,
    )
    record = tuned.record
    return {**record["scores"]["found"], "seconds": record["cost"]["seconds"], "found": record["search"]["found"]}


def as_row(data: Data, example: Any) -> dict[str, str]:
    return {**example.fields, data.task.label_column: example.label}


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    backbone = load_backbone(arguments.model, device=arguments.device, dtype=arguments.dtype)
    kept = Path(arguments.to) / "words.json"
    result = json.loads(kept.read_text()) if kept.exists() else {"tasks": {}}
    result |= {"machine": machine(arguments.device), "model": arguments.model}
    tasks = {"given": {"data": str(arguments.data), "template": "{text} ="}} if arguments.data else TASKS
    searches = QUICK if arguments.quick else SEARCHES
    for name in arguments.tasks or tasks:
        options = dict(tasks[name])
        data = prepare(options.pop("data"), None, None, None, Settings(), **options)
        data.splits.test[arguments.test :] = []
        into = result["tasks"].setdefault(name, {"rows": len(data.splits.test), "scores": {}})["scores"]
        prompts = made(backbone, data)
        for method in arguments.methods or [*prompts, *searches]:
            if method in into:
                continue
            started = time.perf_counter()
            if method in prompts:
                source = Predictor(backbone, data.task, prompts[method]())
                scores = evaluate_sources(data.task, {method: source}, data.splits.test).scores()[method]
                into[method] = {**scores, "seconds": time.perf_counter() - started}
            else:
                into[method] = found(backbone, data, method, searches[method], Path(arguments.to) / "words" / name)
            print(f"{name}, {method}: accuracy {into[method]['accuracy']['value']:.3f}", flush=True)
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_text(json.dumps(result, indent=1) + "\n")
    return result


def table(result: dict[str, Any]) -> list[str]:
    """Accuracy by method and task, and how each compares with the words it adds to."""
    tasks = result["tasks"]
    methods = list(dict.fromkeys(method for each in tasks.values() for method in each["scores"]))
    rows = ", ".join(f"{name} {each['rows']}" for name, each in tasks.items())
    lines = [f"{result['model']}; accuracy with 95 % confidence intervals on held-out rows ({rows}), one seed.", ""]
    lines += ["| prompt | " + " | ".join(tasks) + " | better than plain on |", "| --- |" + " --- |" * (len(tasks) + 1)]
    for method in methods:
        cells, better = [], []
        for name, each in tasks.items():
            score = each["scores"].get(method, {}).get("accuracy")
            cells.append(f"{score['value']:.3f} ({score['low']:.3f}–{score['high']:.3f})" if score else "")
            plain = each["scores"].get(PLAIN.get(method, ""), {}).get("accuracy")
            if score and plain and score["value"] > plain["value"]:
                better.append(name)
        lines.append(f"| {method} | " + " | ".join(cells) + f" | {', '.join(better)} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=DEFAULT)
    parser.add_argument("--data", type=Path, help="labelled rows of one task of your own")
    parser.add_argument("--tasks", nargs="+", choices=TASKS)
    parser.add_argument("--methods", nargs="+")
    parser.add_argument("--test", type=int, default=400, help="held-out rows to score")
    parser.add_argument("--to", default=str(RESULTS))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--quick", action="store_true", help="a smoke test")
    arguments = parser.parse_args()
    lines = table(measure(arguments))
    print("\n".join(lines))
    (Path(arguments.to) / "words.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
