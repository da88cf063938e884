"""What is kept of a run beside the prompt itself: data, settings, cost, versions."""

import datetime
import platform
from importlib.metadata import version
from typing import Any

import cuetune
from cuetune.backbones.base import Backbone
from cuetune.prompts.base import Prompt
from cuetune.tuning.data import Data
from cuetune.tuning.loop import Outcome


def record(backbone: Backbone, prompt: Prompt, data: Data, outcome: Outcome | None) -> dict[str, Any]:
    """Everything that is kept of a run beside the prompt itself (see `library.record`)."""
    splits = data.splits
    rows = {name: len(getattr(splits, name)) for name in ("train", "validation", "test")}
    kept: dict[str, Any] = {
        "data": {"source": data.source, "fingerprint": data.fingerprint, "rows": rows, **data.parted},
        "versions": versions(),
        "created": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }
    if backbone.folder is not None:
        kept["model"] = backbone.folder
    if outcome is not None:
        progress, head = outcome.progress, outcome.head
        in_head, in_file = (head.n_trained, head.n_kept) if head else (0, 0)
        kept["settings"] = {**outcome.settings.model_dump(), "dtype": str(backbone.dtype).removeprefix("torch.")}
        kept["seed"] = outcome.settings.seed
        kept["stopped"] = progress.stopped or "finished"
        kept["best_step"] = progress.best_step
        kept["validation_scores"] = progress.best_scores
        if progress.task_embedding:
            kept["task_embedding"] = progress.task_embedding
        kept["cost"] = {
            "seconds": round(progress.seconds, 2),
            "steps": progress.step,
            "tokens": progress.tokens,
            "tflop": round((outcome.flops or 0.0) / 1e12, 6),
            "validation_tflop": round((outcome.validation_flops or 0.0) / 1e12, 6),
            "peak_memory_bytes": outcome.peak_memory_bytes,
            "device": device_name(backbone),
            "stored_bytes": 4 * (sum(value.numel() for value in prompt.state_dict().values()) + in_file),
            "trained_parameters": prompt.n_trained + in_head,
        }
    return kept


def versions() -> dict[str, str]:
    """Versions of what a result depends on."""
    import torch

    return {
        "cuetune": cuetune.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": version("transformers"),
    }


def device_name(backbone: Backbone) -> str:
    """The GPU's name, or the processor's and how many threads were used."""
    import torch

    if backbone.device.type == "cuda":
        return torch.cuda.get_device_name(backbone.device)
    return f"CPU, {torch.get_num_threads()} threads"
