"""What a tuning job will cost before it runs: operations, memory, hours, energy, dollars and stored bytes by method.

Every figure is a formula in named symbols, kept beside its value, so that `cuetune cost --explain` can print the
formula, the same formula with the numbers in it, and where it is from.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cuetune.cost import flops, memory
from cuetune.cost.formulas import Figure
from cuetune.cost.job import Job, Rates
from cuetune.cost.shapes import Shape
from cuetune.errors import CuetuneError

METHODS = {
    "soft": "soft prompt",
    "prefix": "prefix",
    "late": "late prompt",
    "lora": "LoRA",
    "full": "fine-tuning",
    "scratch": "from scratch",
}
FROZEN = ("soft", "prefix", "late", "lora")
SHAPE = {"N": "parameters", "L": "layers", "d": "width", "h": "heads", "h_kv": "kv_heads", "d_h": "head_size"}
SHAPE |= {"f": "ffn", "V": "vocab", "m": "matrices", "m_qkv": "qkv"}
ZERO = "Rajbhandari et al. 2020, ZeRO, section 3.1"


@dataclass(frozen=True)
class Plan:
    """One method's costs.

    figures: by name, see `Figure`; `plan["dollars"]` is the value. fits: GPUs whose memory holds the run, smallest
    first. tasks: bytes kept for so many tasks, a frozen model's own weights counted once.
    """

    method: str
    figures: dict[str, Figure]
    fits: list[str]
    tasks: dict[int, float]

    def __getitem__(self, name: str) -> float:
        return self.figures[name].value

    def to_dict(self) -> dict[str, Any]:
        return {
            "method": self.method,
            **{name: figure.value for name, figure in self.figures.items()},
            "fits": self.fits,
            "stored_bytes": {str(number): size for number, size in self.tasks.items()},
            "formulas": {name: figure.to_dict() for name, figure in self.figures.items()},
        }


def plans(shape: Shape, job: Job, rates: Rates, methods: Sequence[str] = (), tasks: Sequence[int] = (1,)) -> list[Plan]:
    """One plan per method, all six of `METHODS` unless told otherwise.

    Raises CuetuneError for a method, GPU or layer that does not exist.
    """
    return [plan(shape, job, rates, method, tasks) for method in methods or METHODS]


def plan(shape: Shape, job: Job, rates: Rates, method: str, tasks: Sequence[int] = (1,)) -> Plan:
    """One method's plan; arguments as in `plans`."""
    if method not in METHODS:
        raise CuetuneError(f"--method {method!r}: unknown; use one of {', '.join(METHODS)}.")
    sheet = _Sheet(shape, job, rates, method)
    sheet.operations()
    sheet.memory()
    sheet.money()
    size = sheet["task_bytes"]
    shared = 2.0 * shape.parameters if method in FROZEN else 0.0
    fits = [name for name, gpu in rates.prices.by_memory() if gpu.memory_gib * 2**30 >= sheet["memory_bytes"]]
    return Plan(method, sheet.figures, fits, {number: shared + number * size for number in tasks})


class _Sheet:
    """The figures of one method, each written down once its parts are known."""

    def __init__(self, shape: Shape, job: Job, rates: Rates, method: str) -> None:
        self.shape, self.job, self.rates, self.method = shape, job, rates, method
        self.gpu = rates.prices.gpu(rates.gpu)
        self.layer = _layer(shape, job) if method == "late" else 0
        self.figures: dict[str, Figure] = {}
        self.symbols: dict[str, float] = {"k": self.layer, "g": memory.kept(shape), **job.symbols(), **rates.symbols()}
        for symbol, name in SHAPE.items():
            self.symbols[symbol] = getattr(shape, name)
        self.symbols["m_ff"] = flops.left_out(shape, 1)

    def __getitem__(self, name: str) -> float:
        return self.figures[name].value

    def put(self, name: str, value: float, unit: str, formula: str, source: str, symbol: str = "") -> None:
        self.figures[name] = Figure(name, float(value), unit, formula, dict(self.symbols), source)
        self.symbols[symbol or name] = float(value)

    def operations(self) -> None:
        """Floating-point operations of the whole run, and of one answer afterwards."""
        shape, job = self.shape, self.job
        if self.method == "scratch":
            value, source = (
                flops.from_scratch(shape.parameters),
                "Kaplan et al. 2020; Hoffmann et al. 2022: 20 tokens per parameter",
            )
            self.put("flops", value, "FLOP", f"6·N·{flops.CHINCHILLA}·N", source)
        else:
            self.put("steps", math.ceil(job.examples * job.epochs / job.batch_size), "steps", "ceil(n·E / B)", "", "S")
            self.put("step_flops", *self._step())
            total = "S·step_flops"
            if self.method == "late":
                once = job.examples * flops.below(shape, job.tokens, self.layer)
                text = "n·k·(2·m·T + 4·h·d_h·T²)"
                self.put("once_flops", once, "FLOP", text, "states below layer k, computed once per example")
                total += " + once_flops"
            once = self["once_flops"] if self.method == "late" else 0.0
            self.put("flops", self["steps"] * self["step_flops"] + once, "FLOP", total, "")
        self.put("answer_flops", *self._answer())

    def _step(self) -> tuple[float, str, str, str]:
        shape, job = self.shape, self.job
        rows, tokens = job.batch_size, job.tokens
        counted = "matrix products of one step, frozen weights: 2 forward, 2 backward"
        packed = "(4·m·(P + B·T) + 12·h·d_h·(P² + B·T·(P + T)))"
        if self.method in ("soft", "late"):
            value = flops.soft_prompt_step(shape, rows, tokens, job.length, job.words, self.layer)
            layers, unread = "(L - k)" if self.method == "late" else "L", "4·m_ff·(P + B·T - B)"
            return value, "FLOP", f"{layers}·{packed} - {unread} + 4·d·W·B", f"{counted}; the prompt once per step"
        if self.method == "prefix":
            value = flops.prefix_step(shape, rows, tokens, job.length, job.words)
            formula = "L·(4·m·B·T + 12·h·d_h·B·T·(P + T)) - 2·m_qkv·B·T - 4·m_ff·(B·T - B) + 4·d·W·B"
            return value, "FLOP", formula, counted
        if self.method == "lora":
            value = flops.lora_step(shape, rows, tokens, job.rank)
            adapters = "6·r·(2·d + (h + h_kv)·d_h)·B·T"
            formula = f"L·(4·m·B·T + 12·h·d_h·B·T² + {adapters}) - 2·m_qkv·B·T - 4·r·d·B·T + 4·d·V·B·T"
            return value, "FLOP", formula, f"{counted}; loss over the vocabulary (Hu et al. 2021)"
        value = flops.full_step(shape, rows, tokens)
        formula = "L·(6·m·B·T + 12·h·d_h·B·T²) + 6·d·V·B·T"
        return value, "FLOP", formula, "matrix products of one step: 2 forward, 4 backward"

    def _answer(self) -> tuple[float, str, str, str]:
        job = self.job
        prompted = self.method in ("soft", "prefix", "late")
        value = flops.answer(
            self.shape,
            job.tokens,
            job.length if prompted else 0,
            job.words if prompted else None,
            self.layer,
        )
        if not prompted:
            merged = "LoRA merged into the weights" if self.method == "lora" else "nothing added to the model"
            return value, "FLOP", "2·L·m·T + 4·h·d_h·L·T² + 2·d·V", f"one answer; {merged}"
        layers = "(L - k)" if self.method == "late" else "L"
        formula = f"2·L·m·T - 2·m_ff·(T - 1) + 4·h·d_h·(L·T² + {layers}·T·P) + 2·d·W"
        return value, "FLOP", formula, "one answer; the prompt compiled to keys and values"

    def memory(self) -> None:
        """Peak memory of the run and what is kept of it afterwards."""
        trained, formula = self._trained()
        self.put("trained", trained, "numbers", formula, "", "t")
        if self.method in FROZEN:
            self.put("weight_bytes", 2 * self.shape.parameters, "bytes", "2·N", "bfloat16")
            self.put("state_bytes", memory.ADAM * trained, "bytes", "16·t", "float32 value, gradient, AdamW's moments")
        else:
            self.put("weight_bytes", 2 * self.shape.parameters, "bytes", "2·N", "bfloat16")
            self.put("state_bytes", 14 * self.shape.parameters, "bytes", "14·N", f"with the weights 16·N: {ZERO}")
        layer = memory.frozen_layer(self.shape)
        self.put("layer_bytes", layer, "bytes", "8·d + 4·(h + h_kv)·d_h + g·f", "measured to about a tenth", "a")
        self.put("activation_bytes", *self._activations(layer))
        parts = [self[name] for name in ("weight_bytes", "state_bytes", "activation_bytes")]
        total = "weight_bytes + state_bytes + activation_bytes + 1073741824"
        self.put("memory_bytes", sum(parts) + memory.WORKSPACE, "bytes", total, "with 1 GiB of workspace")
        if self.method == "late":
            cache = 2.0 * self.job.examples * self.job.tokens * self.shape.width
            self.put("cache_bytes", cache, "bytes", "2·n·T·d", "states at layer k, in main memory or on disk")
        self.put(
            "gpus", math.ceil(self["memory_bytes"] / self.symbols["M"]), "GPUs", "ceil(memory_bytes / M)", "by memory"
        )
        if self.method in FROZEN:
            self.put("task_bytes", 4 * trained, "bytes", "4·t", "float32, besides the shared model")
        else:
            self.put("task_bytes", 2 * self.shape.parameters, "bytes", "2·N", "a whole model in bfloat16")

    def _trained(self) -> tuple[float, str]:
        shape, job = self.shape, self.job
        if self.method == "soft":
            return job.length * shape.width, "P·d"
        if self.method == "prefix":
            return 2 * shape.layers * shape.kv_heads * shape.head_size * job.length, "2·L·h_kv·d_h·P"
        if self.method == "late":
            return (shape.layers - self.layer) * job.length * shape.width, "(L - k)·P·d"
        if self.method == "lora":
            return flops.lora_parameters(shape, job.rank), "L·r·(2·d + (h + h_kv)·d_h)"
        return shape.parameters, "N"

    def _activations(self, layer: float) -> tuple[float, str, str, str]:
        shape, job = self.shape, self.job
        n = job.batch_size * job.tokens
        if self.method in ("soft", "late"):
            layers = "(L - k)" if self.method == "late" else "L"
            value = (shape.layers - self.layer) * layer * (job.length + n)
            return value, "bytes", f"{layers}·a·(P + B·T)", "kept for the backward pass, frozen weights"
        if self.method == "prefix":
            return shape.layers * layer * n, "bytes", "L·a·B·T", "kept for the backward pass, frozen weights"
        logits = memory.LOGITS * shape.vocab * n
        if self.method == "lora":
            value = shape.layers * (layer + memory.lora_inputs(shape)) * n + logits
            return value, "bytes", "L·(a + 6·d)·B·T + 10·V·B·T", "with the adapters' inputs and the vocabulary's logits"
        value = shape.layers * (layer + memory.trained_inputs(shape)) * n + logits
        formula = "L·(a + 8·d + 2·h·d_h + 2·f)·B·T + 10·V·B·T"
        return value, "bytes", formula, "with all matrices' inputs and the vocabulary's logits"

    def money(self) -> None:
        """Hours, energy, dollars, carbon dioxide."""
        gpu, prices, s = self.gpu, self.rates.prices, self.symbols
        hours = self["flops"] / (s["u"] * s["R"] * 3600)
        self.put("gpu_hours", hours, "GPU-hours", "flops / (u·R·3600)", "model-FLOPs utilisation u of the peak R")
        kwh = hours * s["w"] * s["pue"] / 1000
        self.put(
            "kwh",
            kwh,
            "kWh",
            "gpu_hours·w·pue / 1000",
            "rated power of the GPU alone, times the data centre's overhead",
        )
        self.put("dollars", hours * s["p"], "USD", "gpu_hours·p", gpu.source)
        self.put("electricity", kwh * prices.usd_per_kwh, "USD", "kwh·q", "for those who own the machine")
        self.put("kg_co2", kwh * prices.kg_co2_per_kwh, "kg", "kwh·c", "grid's carbon intensity")


def _layer(shape: Shape, job: Job) -> int:
    layer = round(shape.layers * 2 / 3) if job.layer is None else job.layer
    if layer >= shape.layers:
        raise CuetuneError(f"--layer {layer}: {shape.name} has layers 0 to {shape.layers - 1}.")
    return layer
