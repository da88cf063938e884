"""What a fix corrects and what it leaves alone: 20 mistakes of a tuned prompt, several draws.

    python benchmarks/corrections.py --prompt runs/demo-check

Beside it, the control: the soft prompt itself tuned on the same mistakes. Mistakes are drawn from rows that no step of
the tuned prompt saw; held-out rows are those of its test part.
"""

import argparse
import json
import random
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from cuetune.answers.prediction import Prediction
from cuetune.backbones.registry import load_backbone
from cuetune.backbones.text import TextBackbone
from cuetune.data.reading import read_rows
from cuetune.data.row import Example
from cuetune.data.splits import split_examples
from cuetune.library.card import interval
from cuetune.library.tuned import TunedPrompt
from cuetune.methods.correcting.correcting import BATCH, LENGTH, STEPS, learned, updates
from cuetune.methods.correcting.mistakes import Corrections
from cuetune.metrics.classification import classification_scores, confusion
from cuetune.prediction.edited import queries_for
from cuetune.prediction.text import Predictor
from cuetune.prompts import CorrectedPrompt, SoftPrompt
from cuetune.tuning.batches import Epochs
from cuetune.tuning.loop import Tuner
from cuetune.tuning.runs import TaskData
from cuetune.tuning.settings import Settings
from side_by_side import described, keep, machine


def parts_of(tuned: TunedPrompt, data: str) -> tuple[list[Example], list[Example]]:
    """Rows that no step of the tuned prompt saw, and its test rows, as `tune` split them."""
    made = tuned.record["settings"]
    splits = split_examples([tuned.task.example(row) for row in read_rows(data)], seed=made["seed"])
    order = Epochs(len(splits.train), made["batch_size"], made["seed"])
    seen = {order.row(place) for place in range(tuned.record["best_step"] * made["batch_size"])}
    unseen = [example for number, example in enumerate(splits.train) if number not in seen]
    return [*unseen, *splits.validation], splits.test


class HeldOut:
    """Held-out rows with the former answers and the queries of each, computed once for all draws."""

    def __init__(self, backbone: TextBackbone, tuned: TunedPrompt, examples: list[Example]) -> None:
        self.examples, self.task = examples, tuned.task
        reader = Predictor(backbone, tuned.task, tuned.prompt)
        self.former = list(reader.predict(examples))
        self.queries = queries_for(reader, examples)

    def with_fix(self, backbone: TextBackbone, prompt: CorrectedPrompt) -> list[Prediction]:
        """Answers of the corrected prompt: the former ones, but for the rows that the fix reaches."""
        answers, weights = list(self.former), prompt.weights_at(self.queries)[-1]
        reached = (weights.amax(dim=1) > 0).nonzero().squeeze(1).tolist()
        anew = Predictor(backbone, self.task, prompt).predict([self.examples[number] for number in reached])
        for number, answer in zip(reached, anew, strict=True):
            answers[number] = answer
        return answers

    def compared(self, answers: list[Prediction]) -> dict[str, Any]:
        """Accuracy with its interval, and how many answers changed."""
        index = {label: number for number, label in enumerate(self.task.labels)}
        truth = [index[str(example.label)] for example in self.examples]
        counts = confusion(truth, [index[answer.label] for answer in answers], len(index))
        changed = sum(now.label != then.label for now, then in zip(answers, self.former, strict=True))
        return {"accuracy": classification_scores(counts)["accuracy"].to_dict(), "changed": changed}


def n_right(backbone: TextBackbone, tuned: TunedPrompt, prompt: Any, examples: list[Example]) -> int:
    answers = Predictor(backbone, tuned.task, prompt).predict(examples)
    return sum(answer.label == example.label for example, answer in zip(examples, answers, strict=True))


def nearly(examples: list[Example], seed: int) -> list[Example]:
    """The same texts with one word in ten left out, at least one."""
    draw = random.Random(seed)
    copies = []
    for example in examples:
        words = example.fields["text"].split()
        for _ in range(max(1, len(words) // 10) if len(words) > 1 else 0):
            words.pop(draw.randrange(len(words)))
        copies.append(replace(example, fields={"text": " ".join(words)}))
    return copies


def fixed(
    backbone: TextBackbone, tuned: TunedPrompt, mistakes: list[Example], held: HeldOut, to: Path
) -> dict[str, Any]:
    started = time.perf_counter()
    prompt = learned(backbone, tuned, Corrections(mistakes, []), LENGTH, updates(STEPS, 0))
    seconds = time.perf_counter() - started
    folder = replace(tuned, prompt=prompt).save(to / "fixed", overwrite=True)
    return {
        "corrected": n_right(backbone, tuned, prompt, mistakes),
        "nearly": n_right(backbone, tuned, prompt, nearly(mistakes, 0)),
        "seconds": seconds,
        "bytes": sum(path.stat().st_size for path in folder.iterdir()),
        "components": sum(len(fix.keys) for fix in prompt.each),
        "reached": int((prompt.weights_at(held.queries)[-1].amax(dim=1) > 0).sum()),
        **held.compared(held.with_fix(backbone, prompt)),
    }


def control(backbone: TextBackbone, tuned: TunedPrompt, mistakes: list[Example], held: HeldOut) -> dict[str, Any]:
    """The soft prompt itself tuned on the mistakes, as often and at the usual rate."""
    prompt = SoftPrompt(tuned.prompt.injection().tokens[0])
    settings = Settings(steps=STEPS, batch_size=BATCH).resolved(backbone, len(mistakes), prompt)
    started = time.perf_counter()
    Tuner(backbone, prompt, TaskData(tuned.task, mistakes), settings).run()
    seconds = time.perf_counter() - started
    answers = list(Predictor(backbone, tuned.task, prompt).predict(held.examples))
    return {
        "corrected": n_right(backbone, tuned, prompt, mistakes),
        "nearly": n_right(backbone, tuned, prompt, nearly(mistakes, 0)),
        "seconds": seconds,
        **held.compared(answers),
    }


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    tuned = TunedPrompt.load(arguments.prompt)
    backbone = load_backbone(arguments.model or tuned.backbone.name, dtype=arguments.dtype)
    production, test = parts_of(tuned, arguments.data)
    held = HeldOut(backbone, tuned, test[: arguments.held_out])
    answers = list(Predictor(backbone, tuned.task, tuned.prompt).predict(production))
    wrong = [example for example, answer in zip(production, answers, strict=True) if answer.label != example.label]
    result = {
        "machine": machine("cpu"),
        "model": backbone.identity.name,
        "held_out": len(held.examples),
        "mistakes": min(arguments.mistakes, len(wrong)),
        "of": [len(wrong), len(production)],
        "before": held.compared(held.former),
        "draws": [],
    }
    for draw in range(arguments.draws):
        mistakes = random.Random(draw).sample(wrong, result["mistakes"])
        with tempfile.TemporaryDirectory() as scratch:
            found = {"fix": fixed(backbone, tuned, mistakes, held, Path(scratch))}
        if draw < arguments.controls:
            found["control"] = control(backbone, tuned, mistakes, held)
        result["draws"].append(found)
        print(json.dumps(found), flush=True)
    return result


def summary(result: dict[str, Any]) -> list[str]:
    n, before = result["mistakes"], result["before"]["accuracy"]
    lines = [
        f"{result['model']}; {n} mistakes in each draw, of {result['of'][0]} among {result['of'][1]} rows that no step "
        f"saw; {result['held_out']} held-out rows, accuracy before: {interval(before)}. {described(result)}",
        "",
        "| draw | | corrected | nearly the same | held-out accuracy | points | reached | changed answers | s | KiB |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for number, draw in enumerate(result["draws"]):
        lines += [_line(number, name, each, n, before["value"]) for name, each in draw.items()]
    return lines


def _line(number: int, name: str, found: dict[str, Any], n: int, before: float) -> str:
    points = 100 * (found["accuracy"]["value"] - before)
    reached = f"{found['reached']}" if "reached" in found else "all"
    size = f"{found['bytes'] / 1024:,.0f}" if "bytes" in found else ""
    called = {"fix": "fix", "control": "soft prompt tuned on them"}[name]
    return (
        f"| {number} | {called} | {found['corrected']} of {n} | {found['nearly']} of {n} | "
        f"{interval(found['accuracy'])} | {points:+.1f} | {reached} | {found['changed']} | "
        f"{found['seconds']:.0f} | {size} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompt", required=True, help="a soft prompt that `cuetune tune DATA` saved")
    parser.add_argument("--data", default="reviews-amazon")
    parser.add_argument("--model")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--controls", type=int, default=3)
    parser.add_argument("--mistakes", type=int, default=20)
    parser.add_argument("--held-out", type=int, default=400)
    parser.add_argument("--quick", action="store_true", help="prints only; the numbers mean nothing")
    arguments = parser.parse_args()
    result = measure(arguments)
    table = summary(result)
    if not arguments.quick:
        keep("corrections", "cpu", result, table)
    print("\n".join(table))


if __name__ == "__main__":
    main()
