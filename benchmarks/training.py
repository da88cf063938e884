"""One training step of a soft prompt, beside PEFT: seconds, share of the machine's ceiling, peak memory.

    python benchmarks/training.py                  # SmolLM2-135M, batch 16, texts of 12 to 48 tokens, this CPU
    python benchmarks/training.py --device cuda
    python benchmarks/training.py --quick --model FOLDER

A step is forward, backward, clipping and AdamW. Both sides start from the same prompt and rows and must give the same
loss over the whole vocabulary; then each is timed as its users run it: PEFT with labels, cuetune with label words.
Every measurement runs in a process of its own, the two sides in turn, so that memory is honest and drift hits both.
"""

import argparse
import json
import statistics
from typing import Any

from side_by_side import LABEL_TOKEN, Memory, ask, described, keep, load_model, machine, make_rows, paired_ratios, timed

SCRIPT = __file__


def worker(options: dict[str, Any]) -> dict[str, Any]:
    """Measure one side once."""
    import torch

    from cuetune.backbones.compat import text as compat

    torch.manual_seed(0)
    device, length = options["device"], options["length"]
    model = load_model(options["model"], options["dtype"], device)
    rows = make_rows(options["batch"], model.config.vocab_size)
    start = torch.randn(length, model.get_input_embeddings().weight.shape[1]) * 0.1
    side: Any = (PeftSide if options["side"] == "peft" else CuetuneSide)(model, rows, start, device)
    if options["side"] != "peft":
        compat.prepare_for_tuning(model, False, options["side"] == "compiled")
    memory = Memory(device)
    seconds = timed(side.step, options["repeats"], device)
    peak = memory.peak()
    result = {"seconds": seconds, "peak_bytes": peak, "loss": side.loss_at_start, "tokens": side.tokens}
    if options["side"] != "peft":
        result |= ceiling(model, side.tokens, device, options["repeats"])
    return result


class PeftSide:
    """PEFT as its documentation shows it: labels, padding to the longest row, logits everywhere."""

    def __init__(self, model: Any, rows: list[list[int]], start: Any, device: str) -> None:
        import torch
        from peft import PromptTuningConfig, get_peft_model

        width = max(map(len, rows))
        config = PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=len(start))
        self.model = get_peft_model(model, config)
        weight = next(p for p in self.model.parameters() if p.requires_grad)
        weight.data.copy_(start)
        self.ids, mask, labels = (torch.full((len(rows), width), fill) for fill in (0, 0, -100))
        for number, row in enumerate(rows):
            self.ids[number, : len(row)] = torch.tensor(row)
            mask[number, : len(row)] = 1
            labels[number, len(row) - 1] = LABEL_TOKEN
        # The answer is the last token of each row, predicted from the one before it.
        self.inputs = {"input_ids": self.ids, "attention_mask": mask, "labels": labels}
        self.inputs = {name: value.to(device) for name, value in self.inputs.items()}
        self.optimizer = torch.optim.AdamW([weight], lr=1e-9)
        self.weight = weight
        self.tokens = len(rows) * (len(start) + width)
        with torch.no_grad():
            self.loss_at_start = self.model(**self.inputs).loss.item()

    def step(self) -> None:
        import torch

        self.optimizer.zero_grad()
        self.model(**self.inputs).loss.backward()
        torch.nn.utils.clip_grad_norm_([self.weight], 1.0)
        self.optimizer.step()


class CuetuneSide:
    """The step of cuetune's loop: packed rows, the prompt once, two label words."""

    def __init__(self, model: Any, rows: list[list[int]], start: Any, device: str) -> None:
        import torch

        from cuetune.backbones.batches import TokenBatch
        from cuetune.backbones.injection import Injection
        from cuetune.backbones.text import TextBackbone

        class NoTokenizer:
            def get_vocab(self) -> dict[str, int]:
                return {}

        self.backbone = TextBackbone(model, NoTokenizer(), "benchmark")
        self.injection = lambda: Injection(tokens={0: self.weight})
        self.weight = torch.nn.Parameter(start.to(device))
        texts = [row[:-1] for row in rows]  # the last token is the answer, so it need not be read
        lengths = [len(text) for text in texts]
        ids = torch.tensor([token for text in texts for token in text])
        self.rows = TokenBatch(ids, lengths, torch.tensor(lengths).cumsum(0) - 1, torch.zeros(0, dtype=torch.long))
        self.words = torch.tensor([LABEL_TOKEN, LABEL_TOKEN + 1], device=device)
        self.targets = torch.zeros(len(rows), dtype=torch.long, device=device)
        self.optimizer = torch.optim.AdamW([self.weight], lr=1e-9)
        self.tokens = len(start) + len(ids)
        with torch.no_grad():
            logits = self.backbone.logits(self.backbone.hidden(self.rows, self.injection()))
            wanted = torch.full_like(self.targets, LABEL_TOKEN)
            self.loss_at_start = torch.nn.functional.cross_entropy(logits, wanted).item()

    def step(self) -> None:
        import torch

        logits = self.backbone.logits(self.backbone.hidden(self.rows, self.injection()), self.words)
        loss = torch.nn.functional.cross_entropy(logits, self.targets)
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_([self.weight], 1.0)
        self.optimizer.step()


def ceiling(model: Any, tokens: int, device: str, repeats: int) -> dict[str, float]:
    """Seconds that the step's own matrix products take when nothing else runs: forward, and backward to the inputs."""
    import torch

    from cuetune.backbones import frozen

    layers = [m for m in model.modules() if isinstance(m, torch.nn.Linear) and m is not model.get_output_embeddings()]
    layers += [m for m in model.modules() if type(m).__name__ == "Conv1D"]
    weights = [layer.weight if isinstance(layer, torch.nn.Linear) else layer.weight.T for layer in layers]
    dtype = weights[0].dtype
    inputs = {size: torch.randn(tokens, size, dtype=dtype, device=device) for w in weights for size in w.shape}

    @torch.no_grad()
    def products() -> None:
        for weight in weights:
            frozen.product(inputs[weight.shape[1]], weight)
            frozen.product(inputs[weight.shape[0]], weight.t())

    seconds = statistics.median(timed(products, repeats, device))
    flop = 4.0 * tokens * sum(weight.numel() for weight in weights)
    return {"products_seconds": seconds, "flop": flop, "ceiling_flops": flop / seconds}


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """All measurements, round by round, the two sides in turn."""
    cases = [(dtype, length) for length in arguments.lengths for dtype in arguments.dtypes]
    runs: dict[str, list[dict[str, Any]]] = {}
    for number in range(arguments.rounds):
        for dtype, length in cases:
            for side in ("peft", "cuetune", "compiled"):
                options = {
                    "side": side,
                    "dtype": dtype,
                    "length": length,
                    "model": arguments.model,
                    "device": arguments.device,
                    "batch": 16,
                    "repeats": arguments.repeats,
                }
                found = ask(SCRIPT, options)
                runs.setdefault(f"{side} {dtype} {length}", []).append(found)
                print(
                    f"round {number + 1}: {side:8} {dtype:9} {length:4} virtual tokens: "
                    f"{statistics.median(found['seconds']):.3f} s a step, peak {found['peak_bytes'] / 2**20:,.0f} MiB"
                )
    return {"machine": machine(arguments.device), "model": arguments.model, "batch": 16, "runs": runs}


def summary(result: dict[str, Any], lengths: list[int], dtypes: list[str]) -> list[str]:
    """The Markdown table of a result."""
    runs = result["runs"]

    def seconds(key: str) -> list[list[float]]:
        return [run["seconds"] for run in runs[key]]

    def middle(key: str, what: str) -> float:
        return statistics.median(run[what] for run in runs[key])

    head = [
        "virtual tokens",
        "cuetune dtype",
        "s/step",
        "PEFT same dtype",
        "times faster",
        "PEFT default (float32)",
        "times faster",
        "share of ceiling",
        "peak memory",
        "PEFT's",
        "same loss",
    ]
    lines = [
        f"{result['model']}, batch {result['batch']}, texts of 12–48 tokens; {described(result)}",
        "",
        "| " + " | ".join(head) + " |",
        "|" + " --- |" * len(head),
    ]
    for length in lengths:
        for dtype, side in ((dtype, side) for dtype in dtypes for side in ("cuetune", "compiled")):
            ours, same, default = f"{side} {dtype} {length}", f"peft {dtype} {length}", f"peft float32 {length}"
            step = statistics.median(s for each in seconds(ours) for s in each)
            cells = [
                str(length),
                f"{dtype}{', compiled' if side == 'compiled' else ''}",
                f"{step:.3f}",
                *against(seconds(same), seconds(ours)),
            ]
            cells += against(seconds(default), seconds(ours)) if default in runs else ["", ""]
            difference = abs(middle(ours, "loss") - middle(same, "loss")) / middle(same, "loss")
            cells += [
                f"{middle(ours, 'products_seconds') / step:.2f}",
                f"{middle(ours, 'peak_bytes') / 2**20:,.0f} MiB",
                f"{middle(same, 'peak_bytes') / 2**20:,.0f} MiB",
                f"to {difference:.0e}",
            ]
            lines.append("| " + " | ".join(cells) + " |")
    lines += [
        "",
        "Times faster: median over rounds of PEFT's step divided by ours, with the extremes. "
        "Share of ceiling: the step's own matrix products run alone, divided by the step. Peak memory: above the "
        "loaded model.",
    ]
    return lines


def against(theirs: list[list[float]], ours: list[list[float]]) -> list[str]:
    ratio = paired_ratios(theirs, ours)
    step = statistics.median(s for each in theirs for s in each)
    return [f"{step:.3f}", f"**{ratio['median']:.1f}** ({ratio['low']:.1f}–{ratio['high']:.1f})"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--lengths", type=int, nargs="+", default=[20, 100])
    parser.add_argument("--dtypes", nargs="+", default=["bfloat16", "float32"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one round, one repeat, nothing kept")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        print(json.dumps(worker(json.loads(arguments.worker))))
        return
    if arguments.quick:
        arguments.rounds = arguments.repeats = 1
    result = measure(arguments)
    table = summary(result, arguments.lengths, arguments.dtypes)
    print("\n".join(table))
    if not arguments.quick:
        keep("training", arguments.device, result, table)


if __name__ == "__main__":
    main()
