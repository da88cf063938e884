"""Many labels, each of several tokens: what a step and an answer cost, and how right the answers are.

    python benchmarks/many_labels.py                      # all parts, SmolLM2-135M, this CPU
    python benchmarks/many_labels.py --parts cost accuracy
    python benchmarks/many_labels.py --quick --model FOLDER

cost: steps and answers with 2 labels of one token and with 77 of three, on the same texts, in turn in one process; peak
memory of steps in a process of its own. Answers: the likeliest label with its probability (predict), or every label's.
"whole tree" is what cuetune did before: every label's tokens behind every row, normalised over the vocabulary.
accuracy: the walk beside the whole tree on WordNet's 41 files of nouns and verbs.
heads: label words beside a trained head, for growing numbers of labels. What was measured is kept after each run, so
that a run that was stopped goes on.
"""

import argparse
import json
import random
import re
import statistics
import time
from collections import Counter, defaultdict, deque
from dataclasses import replace
from typing import Any

import many_labels_data
from cuetune.backbones.loading import DEFAULT
from cuetune.backbones.registry import load_backbone
from cuetune.data.row import Example
from cuetune.data.task import Task
from cuetune.prediction.text import Predictor
from cuetune.prompts.initial import soft_prompt
from cuetune.readouts import TextHead
from cuetune.tuning.loop import Tuner
from cuetune.tuning.runs import TaskData
from cuetune.tuning.settings import Settings
from side_by_side import RESULTS, Memory, ask, keep, machine, synchronise

SIDES = ("2 labels", "77 labels, no common beginnings", "77 labels, 5 x 4 x 4", "77 labels, whole tree")
PARTS = ("cost", "accuracy", "heads")


def label_words(tokenizer: Any, side: str) -> list[str]:
    """The side's labels: words of one token each, one of them or three."""
    known = sorted(token[1:] for token in tokenizer.get_vocab() if re.fullmatch("Ġ[a-z]{3,8}", token))
    words = random.Random(0).sample(known, 231) if len(known) >= 231 else [f"{n:03}" for n in range(231)]
    if side == SIDES[0]:
        return words[:2]
    if side == SIDES[1]:
        return [" ".join(words[3 * n : 3 * n + 3]) for n in range(77)]
    return [" ".join((words[a], words[5 + b], words[9 + c])) for a in range(5) for b in range(4) for c in range(4)][:77]


def task_of(backbone: Any, side: str) -> Task:
    labels = tuple(label_words(backbone.tokenizer, side))
    return Task(labels=labels, scoring="vocabulary" if side == SIDES[3] else "walk", name=side)


def tuner(backbone: Any, side: str, batch: int) -> Tuner:
    """The loop as `cuetune tune` sets it up; the same texts for every side, with labels by turns."""
    task, rows = task_of(backbone, side), texts(backbone, 16 * batch)
    examples = [replace(row, label=task.labels[n % len(task.labels)]) for n, row in enumerate(rows)]
    prompt = soft_prompt(backbone, replace(task, instruction="Classify the text."))
    settings = Settings(steps=100, batch_size=batch).resolved(backbone, len(examples), prompt)
    return Tuner(backbone, prompt, TaskData(task, examples), settings)


def texts(backbone: Any, count: int) -> list[Example]:
    rows = definitions(backbone)[:count]
    return [Example(f"row {n}", {"text": row["text"]}, None) for n, row in enumerate(rows)]


def definitions(backbone: Any, n_labels: int = 41) -> list[dict[str, str]]:
    """Rows of the most frequent labels in a random order; of a tiny model, which is for smoke tests, made up."""
    tiny = [{"text": f"text {n}", "label": f"noun.kind {n % 6}"} for n in range(400)]
    rows = tiny if backbone.width < 64 else many_labels_data.files()
    kept = {label for label, _ in Counter(row["label"] for row in rows).most_common(n_labels)}
    rows = [row for row in rows if row["label"] in kept]
    random.Random(0).shuffle(rows)
    return rows


def cost(backbone: Any, arguments: argparse.Namespace) -> dict[str, Any]:
    """Seconds of steps and of answers, the sides in turn, and peak bytes of each side in a process of its own.

    The whole tree takes so much longer that it is measured in the first round only.
    """
    tuners = {side: tuner(backbone, side, arguments.batch) for side in SIDES}
    predictors = {side: Predictor(backbone, task_of(backbone, side), each.prompt) for side, each in tuners.items()}
    asked = texts(backbone, arguments.predicted)
    taken: dict[str, dict[str, list[float]]] = {what: defaultdict(list) for what in ("step", "predict", "all")}
    for number in range(arguments.repeats + 1):  # the first round warms up
        for side in SIDES if number == 1 else SIDES[:-1]:
            rows = tuners[side].batches.of(number)
            device = arguments.device
            taken["step"][side].append(seconds_of(lambda side=side, rows=rows: tuners[side]._step(rows), device))
            for what in ("predict", "all"):

                def answered(side: str = side, best_only: bool = what == "predict") -> None:
                    deque(predictors[side].predict(asked, best_only=best_only), maxlen=0)

                taken[what][side].append(seconds_of(answered, device))
    timed = {what: {side: each[len(each) > 1 :] for side, each in sides.items()} for what, sides in taken.items()}
    peaks = {side: ask(__file__, vars(arguments) | {"side": side, "worker": None}) for side in SIDES}
    nodes = {side: len(each.runs[0].readout.tree.ids) for side, each in tuners.items()}
    return {"seconds": timed, "peaks": peaks, "nodes": nodes, "rows": len(asked)}


def seconds_of(function: Any, device: str) -> float:
    """On a CPU those of its cores, which others on the same machine change little."""
    clock = time.process_time if device == "cpu" else time.perf_counter
    started = clock()
    function()
    synchronise(device)
    return clock() - started


def worker(options: dict[str, Any]) -> int:
    """Peak bytes of three steps."""
    backbone = load_backbone(options["model"], device=options["device"], dtype=options["dtype"])
    run = tuner(backbone, options["side"], options["batch"])
    memory = Memory(options["device"])
    for number in range(3):
        run._step(run.batches.of(number))
    return memory.peak()


def tuned(backbone: Any, task: Task, rows: list[dict[str, str]], arguments: Any, seed: int, readout: str) -> float:
    """Accuracy on held-out rows after tuning 20 virtual tokens."""
    order = random.Random(seed).sample(rows, len(rows))
    examples = [Example(f"row {n}", {"text": row["text"]}, row["label"]) for n, row in enumerate(order)]
    held, shown, learned = parts(examples, arguments.test, arguments.validation, arguments.train)
    settings = Settings(steps=arguments.steps, evaluate_every=max(1, arguments.steps // 3), readout=readout, seed=seed)
    prompt = soft_prompt(backbone, task)
    run = Tuner(backbone, prompt, TaskData(task, learned, shown), settings.resolved(backbone, len(learned), prompt))
    head = run.run().head
    source = Predictor(backbone, task, run.prompt, readout=TextHead.of(backbone, task, head) if head else None)
    right = [each.label == example.label for each, example in zip(source.predict(held), held, strict=True)]
    return sum(right) / len(right)


def parts(examples: list[Example], *sizes: int) -> list[list[Example]]:
    ends = [sum(sizes[:n]) for n in range(len(sizes) + 1)]
    return [examples[start:end] for start, end in zip(ends, ends[1:], strict=False)]


def wordnet_task(rows: list[dict[str, str]], scoring: str = "walk") -> Task:
    labels = tuple(sorted({row["label"] for row in rows}))
    task = Task(template="Definition: {text}\nKind:", labels=labels, scoring=scoring)
    return replace(task, instruction="Classify the definition.", name="definitions")


def measure(arguments: argparse.Namespace, result: dict[str, Any], save: Any) -> dict[str, Any]:
    backbone = load_backbone(arguments.model, device=arguments.device, dtype=arguments.dtype)
    result |= {"machine": machine(arguments.device), "model": arguments.model, "steps": arguments.steps}
    if "cost" in arguments.parts:
        result["cost"] = cost(backbone, arguments)
        save(result)
    runs = result.setdefault("runs", {})
    for name, rows, seed, scoring, readout in _runs(backbone, arguments):
        if name not in runs:
            task, started = wordnet_task(rows, scoring), time.perf_counter()
            found = tuned(backbone, task, rows, arguments, seed, readout)
            runs[name] = {"accuracy": found, "seconds": time.perf_counter() - started, "labels": len(task.labels)}
            print(name, runs[name], flush=True)
            save(result)
    return result


def _runs(backbone: Any, arguments: argparse.Namespace) -> Any:
    """Name, rows, seed, scoring and readout of every run that is asked for."""
    if "accuracy" in arguments.parts:
        rows = definitions(backbone)
        for seed in range(arguments.seeds):
            yield f"walk, seed {seed}", rows, seed, "walk", "words"
            yield f"whole tree, seed {seed}", rows, seed, "vocabulary", "words"
    if "heads" in arguments.parts:
        for n_labels in arguments.labels:
            for readout in ("head", "words"):
                yield f"{readout}, {n_labels} labels", definitions(backbone, n_labels), 0, "walk", readout


def summary(result: dict[str, Any]) -> list[str]:
    found = result["machine"]
    lines = [f"{result['model']}, {found['device']}, {found['threads']} threads, torch {found['torch']}.", ""]
    if "cost" in result:
        lines += _costs(result["cost"])
    runs = result["runs"]
    for part, kinds in {"accuracy": ("walk", "whole tree"), "heads": ("words", "head")}.items():
        found = {kind: [each for name, each in runs.items() if name.startswith(kind)] for kind in kinds}
        lines += [*_accuracies(part, found), ""] if all(found.values()) else []
    return lines


def _costs(cost: dict[str, Any]) -> list[str]:
    head = ["", "tokens behind a row", "CPU s/step", "times", "peak memory", "times"]
    head += ["rows per CPU s", "times", "with all probabilities", "times"]
    lines = [f"| {' | '.join(head)} |", "|" + " --- |" * len(head)]
    for side in SIDES:
        step = statistics.median(cost["seconds"]["step"][side])
        peak, least = cost["peaks"][side], cost["peaks"][SIDES[0]]
        cells = [side, str(cost["nodes"][side]), f"{step:.2f}", f"{_ratio(cost, 'step', side):.2f}"]
        cells += [f"{peak / 2**20:,.0f} MiB", f"{peak / max(1, least):.2f}"]
        for what in ("predict", "all"):
            taken = statistics.median(cost["seconds"][what][side])
            cells += [f"{cost['rows'] / taken:.0f}", f"{1 / _ratio(cost, what, side):.2f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]


def _ratio(cost: dict[str, Any], what: str, side: str) -> float:
    """How many times the seconds of the first side: the median over rounds."""
    pairs = zip(cost["seconds"][what][side], cost["seconds"][what][SIDES[0]], strict=False)
    return statistics.median(a / b for a, b in pairs)


def _accuracies(part: str, found: dict[str, list[dict[str, Any]]]) -> list[str]:
    """Accuracies by seed with their mean, or by number of labels."""
    runs = next(iter(found.values()))
    heads = [f"seed {n}" for n in range(len(runs))] if part == "accuracy" else [f"{r['labels']} labels" for r in runs]
    lines = [f"| accuracy | {' | '.join([*heads, 'mean'])} |", "|" + " --- |" * (len(heads) + 2)]
    for kind, each in found.items():
        values = [run["accuracy"] for run in each]
        cells = [f"{value:.3f}" for value in [*values, statistics.mean(values)]]
        lines.append(f"| {kind} | {' | '.join(cells)} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=DEFAULT)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--predicted", type=int, default=48)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--train", type=int, default=800)
    parser.add_argument("--validation", type=int, default=60)
    parser.add_argument("--test", type=int, default=400)
    parser.add_argument("--labels", type=int, nargs="+", default=[10, 20, 41])
    parser.add_argument("--quick", action="store_true", help="a smoke test; keeps nothing")
    parser.add_argument("--worker")
    arguments = parser.parse_args()
    if arguments.worker:
        print(json.dumps(worker(json.loads(arguments.worker))))
        return
    if arguments.quick:
        small = {"batch": 4, "repeats": 2, "predicted": 8, "seeds": 1, "steps": 3, "train": 60, "validation": 8}
        vars(arguments).update(small, test=16, labels=[5])
    path = RESULTS / f"many-labels-{'cuda' if arguments.device.startswith('cuda') else 'cpu'}.json"
    known = json.loads(path.read_text()) if path.exists() and not arguments.quick else {}

    def save(result: dict[str, Any]) -> None:
        if not arguments.quick:
            keep("many-labels", arguments.device, result, summary(result | {"runs": result.get("runs", {})}))

    result = measure(arguments, known, save)
    save(result)
    print("\n".join(summary(result)))


if __name__ == "__main__":
    main()
