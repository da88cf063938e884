"""What both benchmarks share: the same rows for both sides, one process per measurement, results kept with versions."""

import importlib.metadata
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
LABEL_TOKEN = 2  # the answer that training steps are timed with: any token will do


def make_rows(count: int, vocabulary: int, seed: int = 0) -> list[list[int]]:
    """Texts of 12 to 48 tokens, the same for everybody."""
    draw = random.Random(seed)
    return [[draw.randrange(10, vocabulary) for _ in range(draw.randint(12, 48))] for _ in range(count)]


def synchronise(device: str) -> None:
    import torch

    if device.startswith("cuda"):
        torch.cuda.synchronize()


def timed(function: Callable[[], Any], repeats: int, device: str) -> list[float]:
    """Seconds of each call, after one that is not counted."""
    function()
    seconds = []
    for _ in range(repeats):
        synchronise(device)
        started = time.perf_counter()
        function()
        synchronise(device)
        seconds.append(time.perf_counter() - started)
    return seconds


class Memory:
    """Peak bytes above what was in use at the beginning: allocated on a GPU, resident on a CPU."""

    def __init__(self, device: str) -> None:
        import torch

        from cuetune.cost.meter import peak_memory, reset_peak

        self._device = torch.device(device)
        self._peak = peak_memory
        reset_peak(self._device)
        cuda = self._device.type == "cuda"
        self._before = torch.cuda.memory_allocated(self._device) if cuda else resident()

    def peak(self) -> int:
        return self._peak(self._device) - self._before


def resident() -> int:
    import psutil

    return int(psutil.Process().memory_info().rss)


def ask(script: str, options: dict[str, Any]) -> dict[str, Any]:
    """Run one measurement in a process of its own; it prints one JSON object as its last line."""
    command = [sys.executable, script, "--worker", json.dumps(options)]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise SystemExit(f"{options}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def paired_ratios(theirs: list[list[float]], ours: list[list[float]]) -> dict[str, float]:
    """Round by round: how many times faster we are, by the medians of that round; then median, lowest, highest."""
    ratios = [statistics.median(a) / statistics.median(b) for a, b in zip(theirs, ours, strict=True)]
    return {"median": statistics.median(ratios), "low": min(ratios), "high": max(ratios)}


def machine(device: str) -> dict[str, Any]:
    """What the numbers were measured on and with."""
    import torch

    names = ("torch", "transformers", "peft", "cuetune")
    return {
        "device": torch.cuda.get_device_name() if device.startswith("cuda") else processor(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in names if installed(name)},
    }


def installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def processor() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())


def keep(name: str, device: str, result: dict[str, Any], table: list[str]) -> None:
    """Write the results beside the scripts, as JSON and as a Markdown table."""
    kind = "cuda" if device.startswith("cuda") else "cpu"
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}-{kind}.json").write_text(json.dumps(result, indent=1) + "\n")
    (RESULTS / f"{name}-{kind}.md").write_text("\n".join(table) + "\n")


def load_model(name: str, dtype: str, device: str) -> Any:
    """The bare model, as both sides start from it."""
    import torch
    from transformers import AutoModelForCausalLM

    from cuetune.support.plugins import resolve_model

    return AutoModelForCausalLM.from_pretrained(resolve_model(name), dtype=getattr(torch, dtype)).to(device)


def described(result: dict[str, Any]) -> str:
    """One line for above a table: the machine and the versions."""
    found = result["machine"]
    return f"{found['device']}, {found['threads']} threads, PEFT {found['peft']}, torch {found['torch']}."
