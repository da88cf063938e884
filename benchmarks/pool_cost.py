"""What a pool of prompts costs: key weights by two matrix products against the broadcast form, one pass against two.

    python benchmarks/pool_cost.py

Weights: alpha of 64 queries and 100 components of 768 numbers, forward and backward, both forms in turn in one process;
the largest tensor that each makes on the way is counted, and its peak memory taken in a process of its own. Steps:
CODA-Prompt on pictures whose queries are kept, as learners train it, against a query pass in every step, as the
released code does it; in turn in one process, on the same batches.
"""

import argparse
import json
import statistics
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from cuetune.backbones.registry import load_backbone
from cuetune.data.row import Example
from cuetune.data.task import Task
from cuetune.methods.continual.features import FrozenFeatures
from cuetune.prompts.pool import PoolShape
from cuetune.prompts.pool_coda import CodaPrompt, key_weights
from cuetune.tuning.loop import Tuner
from cuetune.tuning.runs import TaskData
from cuetune.tuning.settings import Settings
from side_by_side import Memory, ask, keep, machine, paired_ratios, timed


def broadcast(query: Tensor, attention: Tensor, keys: Tensor) -> Tensor:
    """(B, M) the equation as it is written: every query times every attention vector, (B, M, D), made to length one."""
    attended = torch.nn.functional.normalize(query[:, None] * attention, dim=-1)
    return torch.einsum("bmd,md->bm", attended, torch.nn.functional.normalize(keys, dim=-1))


def two_products(query: Tensor, attention: Tensor, keys: Tensor) -> Tensor:
    return key_weights(query, attention[None], keys[None])[0]


FORMS: dict[str, Callable[..., Tensor]] = {"broadcast": broadcast, "two products": two_products}


def forward_backward(form: str, sizes: list[int], device: str) -> Callable[[], None]:
    """One call: alpha and the gradients of attention vectors and keys."""
    batch, count, width = sizes
    generator = torch.Generator().manual_seed(0)
    query, attention, keys = (
        torch.randn(rows, width, generator=generator).to(device) for rows in (batch, count, count)
    )
    attention.requires_grad_()
    keys.requires_grad_()

    def call() -> None:
        attention.grad = keys.grad = None
        FORMS[form](query, attention, keys).square().sum().backward()

    return call


class Largest(TorchDispatchMode):
    """Remembers the numbers of the largest tensor that anything in it made."""

    numbers = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        self.numbers = max(self.numbers, *(each.numel() for each in _tensors(result)), 0)
        return result


def _tensors(result: Any) -> list[Tensor]:
    parts = result if isinstance(result, tuple | list) else [result]
    return [each for each in parts if isinstance(each, Tensor)]


def weights(arguments: argparse.Namespace) -> dict[str, Any]:
    """Seconds of each form by round, its largest tensor, and its peak memory."""
    calls = {form: forward_backward(form, arguments.sizes, arguments.device) for form in FORMS}
    rounds = [
        {form: timed(call, arguments.repeats, arguments.device) for form, call in calls.items()} for _ in range(5)
    ]
    largest, peak = {}, {}
    for form, call in calls.items():
        with Largest() as watched:
            call()
        largest[form] = watched.numbers
        peak[form] = ask(__file__, {"form": form, "sizes": arguments.sizes, "device": arguments.device})["peak"]
    ratios = paired_ratios(*([each[form] for each in rounds] for form in FORMS))
    seconds = {form: statistics.median(s for each in rounds for s in each[form]) for form in FORMS}
    return {"seconds": seconds, "ratio": ratios, "largest": largest, "peak_bytes": peak}


def worker(options: dict[str, Any]) -> dict[str, Any]:
    """Peak memory of one form, above what was in use before."""
    call = forward_backward(options["form"], options["sizes"], options["device"])
    memory = Memory(options["device"])
    for _ in range(5):
        call()
    return {"peak": memory.peak()}


def tuner(backbone: Any, kept: bool, batch: int, components: int) -> Tuner:
    """A run of CODA-Prompt on pictures of noise."""
    draw, (height, width) = np.random.default_rng(0), backbone.preprocessing.size
    pictures = [Image.fromarray(draw.integers(0, 255, (height, width, 3), dtype=np.uint8)) for _ in range(2 * batch)]
    task = Task(template="{image}", labels=("a", "b"))
    rows = [Example(f"picture {n}", {"image": each}, "ab"[n % 2]) for n, each in enumerate(pictures)]
    prompt = CodaPrompt(PoolShape.of(backbone), components=components)
    prompt.grow(0)
    settings = Settings(steps=1000, batch_size=batch).resolved(backbone, len(rows), prompt)
    queries = [FrozenFeatures(backbone).of(rows, task)] if kept else ()
    return Tuner(backbone, prompt, TaskData(task, rows), settings, queries=queries)


def steps(arguments: argparse.Namespace) -> dict[str, Any]:
    """Seconds of a step with kept queries and with a query pass, by round."""
    backbone = load_backbone(arguments.model, dtype="float32", device=arguments.device)
    sides = {
        name: tuner(backbone, kept, arguments.batch, arguments.components)
        for name, kept in (("two passes", False), ("one pass", True))
    }
    rounds: list[dict[str, list[float]]] = []
    for number in range(arguments.steps):
        taken = {}
        for name, each in sides.items():
            chosen = each.batches.of(number)
            taken[name] = timed(lambda each=each, chosen=chosen: each._step(chosen), 1, arguments.device)
        rounds.append(taken)
    ratios = paired_ratios(*([each[name] for each in rounds] for name in sides))
    seconds = {name: statistics.median(s for each in rounds for s in each[name]) for name in sides}
    return {"seconds": seconds, "ratio": ratios, "batch": arguments.batch, "model": arguments.model}


def summary(result: dict[str, Any]) -> list[str]:
    found, (batch, count, width) = result["weights"], result["sizes"]
    about, once = result["machine"], result["steps"]
    lines = [
        f"{about['device']}, {about['threads']} threads, torch {about['torch']}, float32.",
        "",
        f"Key weights, B = {batch}, M = {count}, D = {width}, forward and backward:",
        "",
        "| form | ms | largest tensor | peak memory |",
        "| --- | --- | --- | --- |",
    ]
    for form in FORMS:
        peak = found["peak_bytes"][form] / 2**20
        lines.append(f"| {form} | {1e3 * found['seconds'][form]:.2f} | {found['largest'][form]:,} | {peak:.1f} MiB |")
    lines += ["", f"The two products are {_ratio(found['ratio'])} times as fast.", ""]
    lines += [f"A training step of CODA-Prompt on {once['batch']} pictures ({once['model']}):", ""]
    lines += ["| queries | s/step |", "| --- | --- |"]
    lines += [f"| {name} | {seconds:.3f} |" for name, seconds in once["seconds"].items()]
    return [*lines, "", f"With queries that are kept a step is {_ratio(once['ratio'])} times as fast."]


def _ratio(ratio: dict[str, float]) -> str:
    return f"**{ratio['median']:.2f}** ({ratio['low']:.2f}–{ratio['high']:.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs=3, default=[64, 100, 768], metavar=("B", "M", "D"))
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--components", type=int, default=20)
    parser.add_argument("--model", default="dinov2-small")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--quick", action="store_true", help="a few repeats, and nothing is kept")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        print(json.dumps(worker(json.loads(arguments.worker))))
        return
    if arguments.quick:
        arguments.repeats = arguments.steps = 2
    result = {"machine": machine(arguments.device), "sizes": arguments.sizes}
    result |= {"weights": weights(arguments), "steps": steps(arguments)}
    table = summary(result)
    if not arguments.quick:
        keep("pool-cost", arguments.device, result, table)
    print("\n".join(table))


if __name__ == "__main__":
    main()
