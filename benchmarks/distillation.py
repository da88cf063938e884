"""What distillation adds to a step: the same batches with the task loss alone, and with the teachers to follow.

    python benchmarks/distillation.py

Steps are timed in turn in one process. What the teachers say of the rows is computed once before; that is timed, too.
"""

import argparse
import statistics
import time
from typing import Any

from cuetune.backbones.registry import load_backbone
from cuetune.methods.multitask.distillation import Distillation
from cuetune.methods.multitask.sampling import StochasticTasks
from cuetune.methods.multitask.sources import Source, read_sources
from cuetune.prompts import MultitaskPrompt
from cuetune.prompts.initial import initial_embeddings, soft_prompt
from cuetune.tuning.loop import Tuner
from cuetune.tuning.objectives import cross_entropy
from cuetune.tuning.settings import Settings
from side_by_side import keep, machine, timed

SIDES = {"task loss alone": False, "with teachers": True}


def tuner(backbone: Any, sources: list[Source], distil: bool, steps: int, batch: int) -> Tuner:
    """The shared run as `cuetune multitask train` sets it up; the teachers are as they begin, which costs the same."""
    first = sources[0].data.task
    prompt = MultitaskPrompt(initial_embeddings(backbone, first), [source.name for source in sources])
    rows = [len(source.data.splits.train) for source in sources]
    settings = Settings(steps=steps, batch_size=batch).resolved(backbone, sum(rows), prompt)
    teachers = [soft_prompt(backbone, source.data.task).to(backbone.device) for source in sources]
    return Tuner(
        backbone,
        prompt,
        [source.task_data for source in sources],
        settings,
        objectives=[cross_entropy, *([Distillation(teachers)] if distil else [])],
        batches=StochasticTasks(rows, batch),
    )


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    backbone = load_backbone(arguments.model, device=arguments.device)
    _, sources = read_sources(arguments.tasks, Settings())
    tuners = {
        name: tuner(backbone, sources, distil, arguments.repeats, arguments.batch) for name, distil in SIDES.items()
    }
    once, taken = {}, {name: [] for name in SIDES}
    for name, each in tuners.items():
        started = time.perf_counter()
        each._prepare()
        once[name] = time.perf_counter() - started
    for number in range(arguments.repeats):
        for name, each in tuners.items():
            rows = each.batches.of(number)
            taken[name] += timed(lambda each=each, rows=rows: each._step(rows), 1, arguments.device)
    n_rows = sum(len(numbers) for step in range(arguments.repeats) for _, numbers in each.batches.of(step))
    about = {"machine": machine(arguments.device), "model": arguments.model, "batch": arguments.batch}
    return about | {"once": once, "seconds": taken, "rows": n_rows}


def summary(result: dict[str, Any]) -> list[str]:
    plain, taught = (result["seconds"][name] for name in SIDES)
    ratios = [after / before for before, after in zip(plain, taught, strict=True)]
    each = 1000 * result["once"]["with teachers"] / result["rows"]
    return [
        f"{result['model']}, batches of {result['batch']} rows of several tasks, {len(plain)} steps of each in turn.",
        "",
        "| | s/step | times the plain step | once for a row of a batch |",
        "| --- | --- | --- | --- |",
        f"| task loss alone | {statistics.median(plain):.3f} | 1.0 | |",
        f"| with teachers | {statistics.median(taught):.3f} | **{statistics.median(ratios):.2f}** ({min(ratios):.2f}–"
        f"{max(ratios):.2f}) | {each:.0f} ms |",
        "",
        "The teachers' outputs are computed once for every row that the run sees, in large batches and by compiled "
        "prompts; a run that sees every row once pays both columns.",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", default="examples/universal/sources.yaml")
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=12)
    arguments = parser.parse_args()
    result = measure(arguments)
    table = summary(result)
    keep("distillation", arguments.device, result, table)
    print("\n".join(table))


if __name__ == "__main__":
    main()
