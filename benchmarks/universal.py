"""New tasks from few rows: a universal prompt beside starting from nothing, from words, from other prompts, and tuning.

    cuetune multitask train examples/universal/sources.yaml --to runs/universal/full      # and its ablations, below
    python benchmarks/universal.py --universal runs/universal

Targets x rows x draws x methods. The rows of a draw are the same for every method; everything that is tuned has the
same number of steps, nothing is chosen on held-out rows, and the last step counts, because few rows leave none to
validate on. One target, diagnoses, is what the settings were chosen on; it is measured with --only diagnoses and is in
no mean. What is finished is kept in results/universal.jsonl, and a stopped run goes on there.

The universal prompts that are compared, one folder each: full, no-distil (--no-distil), no-parts (--rank 0) and
no-sampling (--no-stochastic --mixing uniform). Those that are missing are left out.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scipy import stats

from cuetune.backbones.registry import load_backbone
from cuetune.data.row import Example
from cuetune.data.sampling import draw
from cuetune.evaluation.evaluate import evaluate_sources, in_words
from cuetune.library.tuned import TunedPrompt
from cuetune.library.universal import UniversalPrompt
from cuetune.methods.adaptation import fine_tuning
from cuetune.methods.multitask.sources import Source, read_sources
from cuetune.methods.transfer.ranking import Candidate, candidate_of, propose
from cuetune.prediction.text import Predictor
from cuetune.prompts import Prompt, SoftPrompt
from cuetune.prompts.initial import soft_prompt
from cuetune.prompts.words import instructed
from cuetune.tuning.loop import Tuner
from cuetune.tuning.runs import TaskData, TextRun
from cuetune.tuning.settings import Settings
from side_by_side import RESULTS, described, machine

CHOSEN_ON = "diagnoses"
PROMPTS = {
    "full": "MPT",
    "no-distil": "MPT, no distillation",
    "no-parts": "MPT, no decomposition",
    "no-sampling": "MPT, no task sampling",
}


@dataclass(frozen=True)
class Cell:
    """One run: this many rows of a target, drawn for the `number`th time."""

    backbone: Any
    source: Source
    rows: Sequence[Example]
    test: Sequence[Example]
    k: int
    number: int
    steps: int

    def tuned(self, prompt: Prompt, backbone: Any = None, task: Any = None) -> dict[str, Any]:
        """Tune, and score what came of it."""
        backbone, task = backbone or self.backbone, task or self.source.data.task
        settings = Settings(steps=self.steps, seed=self.number).resolved(backbone, len(self.rows), prompt)
        run = Tuner(backbone, prompt, TaskData(task, self.rows), settings)
        done = run.run()
        found = self.scored(Predictor(backbone, task, prompt.fold()), task)
        flops = run.flops()
        return {**found, "seconds": done.progress.seconds, "flops": flops, "trained": prompt.n_trained}

    def scored(self, predictor: Predictor, task: Any = None) -> dict[str, Any]:
        result = evaluate_sources(task or self.source.data.task, {"it": predictor}, self.test).results["it"]
        return {"accuracy": result.scores["accuracy"].value, "macro_f1": result.scores["macro_f1"].value}


def in_context(cell: Cell) -> dict[str, Any]:
    """The k rows as demonstrations, as many as fit."""
    name, predictor = list(in_words(cell.backbone, cell.source.data.task, cell.rows, cell.k, cell.number).items())[-1]
    return {**cell.scored(predictor), "note": name}


def zero_shot(cell: Cell) -> dict[str, Any]:
    return cell.scored(in_words(cell.backbone, cell.source.data.task, ())["zero-shot"])


def from_vocabulary(cell: Cell) -> dict[str, Any]:
    """The published start of a prompt from scratch: embeddings of common words (Lester 2021)."""
    return cell.tuned(soft_prompt(cell.backbone, cell.source.data.task, init="vocabulary", seed=cell.number))


def from_words(cell: Cell) -> dict[str, Any]:
    """cuetune's own start: the words of the instruction."""
    return cell.tuned(soft_prompt(cell.backbone, cell.source.data.task))


def beside_words(cell: Cell) -> dict[str, Any]:
    """The same with the instruction in every row too, which is what a universal prompt reads."""
    return cell.tuned(soft_prompt(cell.backbone, cell.source.data.task), task=cell.source.asked.task)


def transferred(found: Sequence[Candidate]) -> Callable[[Cell], dict[str, Any]]:
    """From the source prompt with the lowest loss on the k rows (SPoT's transfer; retrieval by trying)."""

    def run(cell: Cell) -> dict[str, Any]:
        words = soft_prompt(cell.backbone, cell.source.data.task)
        data = TaskData(cell.source.data.task, cell.rows, cell.rows)
        look = TextRun(cell.backbone, words, data, Settings().resolved(cell.backbone, len(cell.rows), words), cell.k)
        best = propose(look, found, words, None)[0].candidate
        return {**cell.tuned(SoftPrompt(best.tokens)), "note": best.name}

    return run


def adapted(universal: UniversalPrompt, **how: Any) -> Callable[[Cell], dict[str, Any]]:
    def run(cell: Cell) -> dict[str, Any]:
        return cell.tuned(universal.prompt.adapted([cell.source.name], **how), task=cell.source.asked.task)

    return run


def all_weights(cell: Cell) -> dict[str, Any]:
    own, weights = fine_tuning(cell.backbone, cell.number)
    return cell.tuned(weights, own, instructed(cell.source.data.task))


def methods(folder: Path) -> dict[str, Callable[[Cell], dict[str, Any]]]:
    """Every method by name, in the order of the table."""
    known = {name: UniversalPrompt.load(folder / name) for name in PROMPTS if (folder / name).is_dir()}
    teachers = sorted((folder / "full" / "teachers").iterdir())
    found = [candidate_of(each.name, "", TunedPrompt.load(each)) for each in teachers]
    return {
        "zero-shot words": zero_shot,
        "in-context examples": in_context,
        "soft prompt, from common words": from_vocabulary,
        "soft prompt, from the instruction": from_words,
        "the same, instruction in every row": beside_words,
        "SPoT": transferred([each for each in found if each is not None]),
        **{PROMPTS[name]: adapted(universal) for name, universal in reversed(known.items())},
        "MPT, only u and v": adapted(known["full"], frozen=True),
        "fine-tuning": all_weights,
    }


def kept(path: Path) -> dict[tuple[Any, ...], dict[str, Any]]:
    """What an earlier run has finished."""
    if not path.exists():
        return {}
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return {(line["target"], line["k"], line["draw"], line["method"]): line for line in lines}


def measure(arguments: argparse.Namespace, path: Path) -> list[dict[str, Any]]:
    backbone = load_backbone(arguments.model, device=arguments.device, dtype=arguments.dtype)
    known = methods(arguments.universal)
    wanted = {name: known[name] for name in arguments.methods or known}
    # Not the default split: the targets' wording was chosen looking at some rows of it.
    _, sources = read_sources(arguments.targets, Settings(seed=1))
    tested = [source.name for source in sources if source.name != CHOSEN_ON]
    done = kept(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    for number in range(arguments.draws):
        for k in arguments.rows:
            for source in (each for each in sources if each.name in (arguments.only or tested)):
                splits = source.data.splits
                rows, test = draw(splits.train, k, number), draw(splits.test, arguments.test, 0)
                cell = Cell(backbone, source, rows, test, k, number, arguments.steps)
                for name, method in wanted.items():
                    if (source.name, k, number, name) in done:
                        continue
                    started = time.perf_counter()
                    found = method(cell)
                    line = {"target": source.name, "k": k, "draw": number, "method": name, "steps": arguments.steps}
                    line |= {"test": len(test), "whole_seconds": time.perf_counter() - started, **found}
                    done[(source.name, k, number, name)] = line
                    with path.open("a") as stream:
                        stream.write(json.dumps(line) + "\n")
                    print(f"{source.name}, {k} rows, draw {number}: {name}: {found['accuracy']:.3f}", flush=True)
    return list(done.values())


def summary(lines: Sequence[dict[str, Any]], head: str) -> str:
    """A table for each number of rows: methods down, targets across, means and the lowest and highest draw."""
    targets = list(dict.fromkeys(line["target"] for line in lines))
    parts = [head, ""]
    for k in sorted({line["k"] for line in lines}):
        names = dict.fromkeys(line["method"] for line in lines if line["k"] == k)
        parts += [f"### {k} labelled rows", "", "| method | " + " | ".join([*targets, "mean"]) + " |"]
        parts.append("|" + " --- |" * (len(targets) + 2))
        for name in names:
            cells, means = [], []
            for target in targets:
                values = [e["accuracy"] for e in lines if (e["target"], e["k"], e["method"]) == (target, k, name)]
                cells.append(f"{statistics.fmean(values):.3f} ({min(values):.3f}–{max(values):.3f})" if values else "")
                means += [statistics.fmean(values)] if values else []
            mean = f"{statistics.fmean(means):.3f}" if len(means) == len(targets) else ""
            parts.append(f"| {name} | " + " | ".join([*cells, mean]) + " |")
        parts.append("")
    return "\n".join([*parts, *differences(lines), *costs(lines)])


def differences(lines: Sequence[dict[str, Any]], of: str = "MPT") -> list[str]:
    """How many points MPT is above each other method on the same rows: means over targets and draws."""
    known = {(line["k"], line["method"], line["target"], line["draw"]): line["accuracy"] for line in lines}
    sizes = sorted({line["k"] for line in lines})
    parts = [f"### {of} minus each other method, in points, on the same rows (± 95 %)", ""]
    parts += ["| method | " + " | ".join(f"{k} rows" for k in sizes) + " |", "|" + " --- |" * (len(sizes) + 1)]
    for name in dict.fromkeys(line["method"] for line in lines if line["method"] != of):
        cells = []
        for k in sizes:
            pairs = [
                (known[k, of, *cell], value)
                for (rows, method, *cell), value in known.items()
                if (rows, method) == (k, name) and (k, of, *cell) in known
            ]
            cells.append(interval([100 * (ours - theirs) for ours, theirs in pairs]) if len(pairs) > 1 else "")
        parts.append(f"| {name} | " + " | ".join(cells) + " |")
    return [*parts, ""]


def interval(values: Sequence[float]) -> str:
    """Mean and half of Student's 95 % interval."""
    half = stats.t.ppf(0.975, len(values) - 1) * statistics.stdev(values) / len(values) ** 0.5
    return f"{statistics.fmean(values):+.1f} ± {half:.1f}"


def costs(lines: Sequence[dict[str, Any]]) -> list[str]:
    """What a new task costs, at the most rows."""
    most = max(line["k"] for line in lines)
    parts = [f"### What a new task costs ({most} rows)", "", "| method | numbers trained | seconds | TFLOP |"]
    parts.append("| --- | --- | --- | --- |")
    for name in dict.fromkeys(line["method"] for line in lines if "flops" in line):
        chosen = [line for line in lines if line["method"] == name and line["k"] == most]
        if chosen:
            seconds, flops = (statistics.fmean(line[what] for line in chosen) for what in ("seconds", "flops"))
            parts.append(f"| {name} | {chosen[0]['trained']:,} | {seconds:.1f} | {flops / 1e12:.2f} |")
    return parts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--universal", type=Path, required=True, help="folder with full and its ablations")
    parser.add_argument("--targets", default="examples/universal/targets.yaml")
    parser.add_argument("--only", nargs="+", help="targets")
    parser.add_argument("--methods", nargs="+")
    parser.add_argument("--rows", type=int, nargs="+", default=[4, 16, 32])
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--test", type=int, default=300)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--to", type=Path, default=RESULTS / "universal.jsonl")
    arguments = parser.parse_args()
    lines = measure(arguments, arguments.to)
    about = described({"machine": machine(arguments.device)})
    what = f"accuracy on {arguments.test} held-out rows, {arguments.draws} draws (lowest–highest)"
    head = f"{arguments.model}, {what}; {about}"
    text = summary(lines, head)
    arguments.to.with_suffix(".md").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
