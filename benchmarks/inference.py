"""Answers of a soft prompt, beside PEFT: rows per second and time to the first written token.

    python benchmarks/inference.py                 # SmolLM2-135M, 100 virtual tokens, this CPU
    python benchmarks/inference.py --device cuda
    python benchmarks/inference.py --quick --model FOLDER

Both sides hold the same prompt and must give the same answers. cuetune compiles the prompt when it is loaded, once;
PEFT passes it through the model with every row. Batches of 16 texts of 12 to 48 tokens to classify; to write, 16 such
texts one by one, or 8 together. The floor is what a side's matrix products take when nothing else runs, with the faster
of the machine's two libraries. Each measurement runs in a process of its own, the two sides in turn.
"""

import argparse
import json
import statistics
from typing import Any

from side_by_side import ask, described, keep, load_model, machine, make_rows, paired_ratios, timed

SCRIPT = __file__
WORDS = (2, 3)  # the two label words: any tokens will do
FLOOR = "Floor: the side's matrix products run alone. Share of floor: our floor divided by our time."
SINGLE = 16  # rows that are written one by one


def worker(options: dict[str, Any]) -> dict[str, Any]:
    """Measure one side once."""
    import torch

    torch.manual_seed(0)
    model = load_model(options["model"], options["dtype"], options["device"])
    rows = make_rows(64, model.config.vocab_size)
    start = torch.randn(options["length"], model.get_input_embeddings().weight.shape[1]) * 0.1
    side: Any = (PeftSide if options["side"] == "peft" else CuetuneSide)(model, start, options["device"])
    sixteens = [rows[number : number + 16] for number in range(0, 64, 16)]
    work = {
        "rows": (side.classify, sixteens),
        "first 1": (side.first, [[row] for row in rows[:SINGLE]]),
        "first 8": (side.first, [rows[:8]]),
    }
    result: dict[str, Any] = {}
    for what, (answer, batches) in work.items():
        result |= measured(what, side, model, answer, batches, options)
    return result


def measured(
    what: str, side: Any, model: Any, answer: Any, batches: list[list[list[int]]], options: dict[str, Any]
) -> dict[str, Any]:
    """Answers of one kind of work, its seconds per batch, and those of its matrix products alone."""
    import torch

    shapes = [(side.passed(batch), 0 if what == "rows" else len(batch)) for batch in batches]
    with torch.inference_mode():
        answers = [one for batch in batches for one in answer(batch)]
        seconds = timed(lambda: [answer(batch) for batch in batches], options["repeats"], options["device"])
        floor = timed(lambda: [products(model, *shape) for shape in shapes], options["repeats"], options["device"])
    per_batch = {what: seconds, f"floor {what}": floor}
    return {f"answers {what}": answers} | {
        name: [each / len(batches) for each in spent] for name, spent in per_batch.items()
    }


def products(model: Any, tokens: int, written: int) -> None:
    """The matrix products of a pass of so many tokens, with the head for `written` of them, and nothing else."""
    import torch

    from cuetune.backbones import frozen

    head, dtype = model.get_output_embeddings(), next(model.parameters()).dtype
    for layer in (module for module in model.modules() if isinstance(module, torch.nn.Linear)):
        count = written if layer is head else tokens
        if count:
            states = torch.zeros(count, layer.in_features, dtype=dtype, device=layer.weight.device)
            frozen.product(states, layer.weight)


class PeftSide:
    """PEFT as its documentation shows it; padded on the right to classify, one row at a time or unpadded to write."""

    def __init__(self, model: Any, start: Any, device: str) -> None:
        from peft import PromptTuningConfig, get_peft_model

        config = PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=len(start), inference_mode=True)
        self.model = get_peft_model(model, config).eval()
        self.model.prompt_encoder["default"].embedding.weight.data.copy_(start)
        self.length, self.device = len(start), device

    def passed(self, rows: list[list[int]]) -> int:
        """Tokens that go through the model for these rows."""
        return len(rows) * (self.length + max(map(len, rows)))

    def _padded(self, rows: list[list[int]], left: bool) -> dict[str, Any]:
        import torch

        width = max(map(len, rows))
        ids, mask = (torch.zeros(len(rows), width, dtype=torch.long) for _ in range(2))
        for number, row in enumerate(rows):
            place = slice(width - len(row), width) if left else slice(len(row))
            ids[number, place], mask[number, place] = torch.tensor(row), 1
        return {"input_ids": ids.to(self.device), "attention_mask": mask.to(self.device)}

    def classify(self, rows: list[list[int]]) -> list[int]:
        import torch

        logits = self.model(**self._padded(rows, left=False)).logits
        ends = torch.tensor([self.length + len(row) - 1 for row in rows], device=self.device)
        chosen = logits[torch.arange(len(rows), device=self.device), ends][:, list(WORDS)]
        return chosen.argmax(-1).tolist()

    def first(self, rows: list[list[int]]) -> list[int]:
        inputs = self._padded(rows, left=True)
        written = self.model.generate(**inputs, max_new_tokens=1, do_sample=False, pad_token_id=0)
        return written[:, -1].tolist()


class CuetuneSide:
    """A compiled prompt: packed rows to classify, transformers' generate behind the cached prompt to write."""

    def __init__(self, model: Any, start: Any, device: str) -> None:
        import torch

        from cuetune.backbones.injection import Injection
        from cuetune.backbones.text import TextBackbone

        class Ids:
            """Stands in for a tokenizer where only ids are compared."""

            pad_token_id = 0

            def get_vocab(self) -> dict[str, int]:
                return {}

            def batch_decode(self, ids: Any, **_: Any) -> list[str]:
                return [str(row[0]) for row in ids]

        self.backbone = TextBackbone(model, Ids(), "benchmark")
        self.prompt = self.backbone.compile(Injection(tokens={0: start.to(device)}))
        self.words = torch.tensor(WORDS, device=device)

    def passed(self, rows: list[list[int]]) -> int:
        return sum(map(len, rows))

    def classify(self, rows: list[list[int]]) -> list[int]:
        import dataclasses

        import torch

        from cuetune.backbones.batches import TokenBatch

        packed = TokenBatch.of(rows)
        packed = dataclasses.replace(packed, read=torch.tensor(packed.lengths).cumsum(0) - 1)
        hidden = self.backbone.hidden(packed, self.prompt)
        return self.backbone.logits(hidden, self.words).argmax(-1).tolist()

    def first(self, rows: list[list[int]]) -> list[int]:
        from cuetune.backbones.generation import Writing, generate

        return [int(text) for text in generate(self.backbone, rows, self.prompt, Writing(max_tokens=1))]


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """All measurements, round by round, the two sides in turn."""
    runs: dict[str, list[dict[str, Any]]] = {}
    for number in range(arguments.rounds):
        for dtype in arguments.dtypes:
            for side in ("peft", "cuetune"):
                options = {"side": side, "dtype": dtype, "length": arguments.length, "model": arguments.model,
                           "device": arguments.device, "repeats": arguments.repeats}  # fmt: skip
                found = ask(SCRIPT, options)
                runs.setdefault(f"{side} {dtype}", []).append(found)
                said = ", ".join(
                    f"{what} {statistics.median(found[what]):.4f} s" for what in ("rows", "first 1", "first 8")
                )
                print(f"round {number + 1}: {side:8} {dtype:9} {said}")
    return {"machine": machine(arguments.device), "model": arguments.model, "runs": runs, "length": arguments.length}


def summary(result: dict[str, Any], dtypes: list[str]) -> list[str]:
    """The Markdown table of a result."""
    runs = result["runs"]
    head = ["dtype", "what", "cuetune", "PEFT", "times faster", "our floor", "share of floor", "PEFT's floor"]
    head.append("same answers")
    lines = [
        f"{result['model']}, {result['length']} virtual tokens, texts of 12–48 tokens; {described(result)}",
        "",
        "| " + " | ".join(head) + " |",
        "|" + " --- |" * len(head),
    ]
    for dtype in dtypes:
        ours, theirs = runs[f"cuetune {dtype}"], runs[f"peft {dtype}"]
        for what, name in (
            ("rows", "rows per second, batch 16"),
            ("first 1", "time to first token, one row"),
            ("first 8", "time to first token, batch 8"),
        ):
            a, b = (statistics.median(s for run in side for s in run[what]) for side in (ours, theirs))
            least = f"floor {what}"
            floor, other = (statistics.median(s for run in side for s in run[least]) for side in (ours, theirs))
            values = [shown(what, seconds) for seconds in (a, b)]
            ratio = paired_ratios([run[what] for run in theirs], [run[what] for run in ours])
            share = paired_ratios([run[least] for run in ours], [run[what] for run in ours])
            pairs = list(zip(ours[0][f"answers {what}"], theirs[0][f"answers {what}"], strict=True))
            same = f"{sum(x == y for x, y in pairs)} of {len(pairs)}"
            faster = f"**{ratio['median']:.1f}** ({ratio['low']:.1f}–{ratio['high']:.1f})"
            floors = [shown(what, floor), f"{share['median']:.2f}", shown(what, other)]
            lines.append("| " + " | ".join([dtype, name, *values, faster, *floors, same]) + " |")
    note = "PEFT puts its prompt before left padding: in a ragged batch it does not write what each row writes alone."
    return [*lines, "", FLOOR, "", note]


def shown(what: str, seconds: float) -> str:
    """Seconds of a batch as the table says them: rows per second for batches of 16, else milliseconds."""
    return f"{16 / seconds:.0f}" if what == "rows" else f"{seconds * 1e3:.0f} ms"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--length", type=int, default=100)
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
    table = summary(result, arguments.dtypes)
    print("\n".join(table))
    if not arguments.quick:
        keep("inference", arguments.device, result, table)


if __name__ == "__main__":
    main()
